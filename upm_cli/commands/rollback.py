"""`upm rollback`: go back to the last known good version. It needs no settings: a broken upm.yaml can't stop it."""

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._after import NoSyncOption, hand_over, in_words
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import emit
from upm_cli.commands._versions import at_time, parse_ring
from upm_cli.errors import UpmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upm_cli.core.records import Ring
    from upm_cli.ops.rollback import RolledBack
    from upm_cli.store.session import Store


def register(app: typer.Typer) -> None:
    app.command("rollback")(rollback)


@changing
def rollback(
    ctx: Context,
    trainer: Annotated[str, typer.Argument(metavar="TRAINER", help="The trainer; never guessed.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="VERSION", help="42, v42, previous or @2h (active then). Default: the last good one."
        ),
    ] = None,
    ring: Annotated[
        str | None,
        typer.Option(
            "--ring", metavar="STAGE", help="shadow, canary or global. Default: what reaches tenants and moved last."
        ),
    ] = None,
    no_sync: NoSyncOption = False,
) -> None:
    """Take a trainer back to its last known good version, at once.

    The stage is swapped and pinned, the bad version is quarantined, the trainer learns on from the good one and skips
    what it learned since, and an incident is opened. No gate is asked. Twice is done already: to go further back, name
    the version with --to. Agents get it at once, as far as they answer; the rollback never waits long for them.

    Example: upm rollback main --reason "users report wrong priorities" --yes
    """
    where = parse_ring(ring, "--ring")
    with _store(ctx) as store:
        go_back = _ready(ctx, store, trainer, to, where)
        started_s = ctx.clock.monotonic_s()
        if ctx.change.dry_run or not ctx.change.yes:
            planned = go_back(dry_run=True)
            if ctx.change.dry_run or planned.is_done:
                _answer(ctx, planned, (ctx.clock.monotonic_s() - started_s) * 1000)
                return
            ctx.confirm(f"this takes {_route(planned)}")
            started_s = ctx.clock.monotonic_s()
        done = go_back(dry_run=False)
        elapsed_ms = (ctx.clock.monotonic_s() - started_s) * 1000
        _answer(ctx, done, elapsed_ms, None if done.is_done else hand_over(ctx, store, trainer, no_sync=no_sync))


@contextmanager
def _store(ctx: Context) -> "Iterator[Store]":
    """Open the store without asking the settings anything."""
    from upm_cli.store.session import Store

    store = Store(ctx.home, ctx.clock, lock_timeout_s=ctx.lock_timeout_s, command=ctx.command)
    try:
        yield store
    finally:
        store.close()


def _ready(ctx: Context, store: "Store", name: str, to: str | None, ring: "Ring | None") -> "Callable[..., RolledBack]":
    from upm_cli.ops.rollback import rollback as go_back

    if to is not None and to.startswith("@"):
        to = at_time(ctx, store, name, to, ring)
    return partial(
        go_back,
        store,
        ctx.clock,
        name,
        to=to,
        ring=ring,
        actor=ctx.actor,
        reason=ctx.change.reason,
        config_digest=_config_digest(ctx),
    )


def _config_digest(ctx: Context) -> str | None:
    """Return the digest of the settings for the record; None when they can't be read: that keeps nobody back."""
    try:
        return ctx.settings.full_digest() if ctx.config_path.is_file() else None
    except UpmError:
        return None


def _route(done: "RolledBack") -> str:
    rings = " and ".join(ring.value for ring in done.rings)
    return f"{done.trainer} from v{done.from_version} back to v{done.to_version} in {rings} ({done.because})"


def _answer(ctx: Context, done: "RolledBack", elapsed_ms: float, agents: dict[str, Any] | None = None) -> None:
    for error in done.skipped:
        ctx.say.warn(f"skipped a better version: {error.message}")
    if done.agents_refuse is not None:
        stay = "agents that ask for signatures stay where they are"
        name = f"{done.trainer}@{done.to_version}"
        sign = f"upm snapshot sign {done.trainer} {done.to_version}"
        ctx.say.warn(f"{name} is {done.agents_refuse.words()}; {stay} until it is signed: {sign}")
    payload: dict[str, Any] = {
        "trainer": done.trainer,
        "from_version": done.from_version,
        "to_version": done.to_version,
        "epoch": done.epoch,
        "pinned": done.pinned,
        "incident_id": None if ctx.change.dry_run and not done.is_done else done.incident_id,
        "elapsed_ms": round(elapsed_ms, 1),
        "rings": [ring.value for ring in done.rings],
        "because": done.because,
        "learner": done.learner,
        "skipped": [error.message for error in done.skipped],
        "adapters": agents,
        "agents_refuse": None if done.agents_refuse is None else done.agents_refuse.words(),
        "changed": not done.is_done and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=_said(ctx, done, elapsed_ms) + in_words(agents))


def _said(ctx: Context, done: "RolledBack", elapsed_ms: float) -> str:
    rings = " and ".join(ring.value for ring in done.rings)
    if done.is_done:
        further = f"to go further back: upm rollback {done.trainer} --to VERSION"
        return f"{done.trainer} is already on v{done.to_version} in {rings}; nothing changed\n{further}"
    if ctx.change.dry_run:
        return f"would take {_route(done)}"
    learner = {
        "put back": f"it learns on from v{done.to_version} and skips what it learned since",
        "paused": f"its checkpoint at v{done.to_version} is missing or damaged, so it is paused",
    }[done.learner]
    return (
        f"took {_route(done)}, {elapsed_ms:.0f} ms\n"
        f"v{done.from_version} is quarantined, {rings} pinned, epoch {done.epoch}; {learner}\n"
        f"incident {done.incident_id}   undo: upm snapshot release {done.trainer} {done.from_version} --reason …, "
        f"then upm activate {done.trainer} {done.from_version}"
    )

"""`upm anchor`: the snapshot that a share of tenants stays on, and whether it would have been the better one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import emit
from upm_cli.commands._versions import TrainerArg, at_time

if TYPE_CHECKING:
    from upm_cli.ops.anchors import Anchored, Shown


def register(app: typer.Typer) -> None:
    group = new_group(help="The snapshot that a share of tenants stays on.", no_args_is_help=True)
    group.command("show")(show)
    group.command("set")(set_)
    group.command("clear")(clear)
    app.add_typer(group, name="anchor")


@command
def show(ctx: Context, trainer: TrainerArg = None) -> None:
    """Show the anchor, and hold what the hold-out was served since then against what the others were.

    Both by the outcomes that agents reported. The interval is good however often anyone looks. The verdict is fail when
    the anchor is better by more than evidence.margin, pass when it is not, else unknown.

    Example: upm anchor show main
    """
    from upm_cli.ops import anchors

    shown = anchors.show(ctx.store, ctx.settings, ctx.trainer_name(trainer))
    emit(ctx, anchors.as_json(shown), text="\n".join(_lines(shown)))
    if shown.is_alarm:
        ctx.say.warn(f"{shown.trainer}: tenants on the anchor are better off: look at what learns on since it was set")


def _lines(shown: "Shown") -> Iterator[str]:
    from upm_cli.ids import iso
    from upm_cli.ops.anchors import said

    anchor = shown.anchor
    if anchor is None:
        yield f"{shown.trainer} has no anchor: upm anchor set {shown.trainer} VERSION"
        return
    why = f": {anchor.reason}" if anchor.reason else ""
    since = f"set {iso(anchor.at_ms)} by {anchor.actor}{why}"
    yield f"{shown.trainer}: {shown.percent} % of tenants stay on v{anchor.version}, {since}"
    yield said(shown)
    found = shown.compared
    if found is None:
        return
    for name, group in (("held out", found.held), ("others", found.rest)):
        mean = "–" if group.mean is None else f"{group.mean:.4f} [{group.low:.4f}, {group.high:.4f}]"
        yield f"  {name:<8} mean loss {mean}, {group.n:,} outcomes of {group.tenants:,} tenants"
    if shown.astray or shown.skipped:
        astray = f"{shown.astray:,} outcomes of tenants held out that got another version"
        yield f"  left out: {astray}, {shown.skipped:,} without a loss"


@changing
def set_(
    ctx: Context,
    trainer: Annotated[str, typer.Argument(metavar="TRAINER", help="Its name.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="42, v42, active, previous, @2h (active then).")],
) -> None:
    """Let rollout.holdout_percent of the tenants stay on a version, whatever rollouts do.

    The version must have served everybody once. A quarantined or rolled back anchor is never served: its tenants get
    what the others get. Its bytes are kept as long as it is the anchor. Needs the role operator.

    Example: upm anchor set main active --reason "what we had before it learned from itself"
    """
    from functools import partial

    from upm_cli.ops import anchors

    name = ctx.trainer_name(trainer)
    word = at_time(ctx, ctx.store, name, version, None) if version.startswith("@") else version
    given: dict[str, Any] = {"actor": ctx.actor, "reason": ctx.change.reason}
    decide = partial(anchors.set_anchor, ctx.store, ctx.clock, ctx.settings, name, word, **given)
    done = decide(dry_run=True)
    if not ctx.change.dry_run and not done.is_done:
        if done.percent and done.after is not None:
            ctx.confirm(f"{done.percent} % of the tenants of {name} then get v{done.after.version}")
        done = decide()
    _answer(ctx, done)


@changing
def clear(ctx: Context, trainer: TrainerArg = None) -> None:
    """Hold nobody out any more: every tenant gets what rollouts say.

    Example: upm anchor clear main --reason "a year of comparison is enough"
    """
    from functools import partial

    from upm_cli.ops import anchors

    name = ctx.trainer_name(trainer)
    given: dict[str, Any] = {"actor": ctx.actor, "reason": ctx.change.reason}
    decide = partial(anchors.clear_anchor, ctx.store, ctx.clock, ctx.settings, name, **given)
    done = decide(dry_run=True)
    if not ctx.change.dry_run and not done.is_done:
        if done.percent and done.before is not None:
            ctx.confirm(f"{done.percent} % of the tenants of {name} then leave v{done.before.version}")
        done = decide()
    _answer(ctx, done)


def _answer(ctx: Context, done: "Anchored") -> None:
    before = None if done.before is None else done.before.version
    after = None if done.after is None else done.after.version
    changed = not done.is_done and not ctx.change.dry_run
    payload = {
        "trainer": done.trainer,
        "from_version": before,
        "to_version": after,
        "percent": done.percent,
        "changed": changed,
        "dry_run": ctx.change.dry_run,
    }
    verb = "was already" if done.is_done else "would be" if ctx.change.dry_run else "is"
    state = "without an anchor" if after is None else f"anchored at v{after} for {done.percent} % of tenants"
    emit(ctx, payload, text=f"{done.trainer} {verb} {state}")
    if after is not None and done.percent == 0:
        ctx.say.hint("nobody is held out before rollout.holdout_percent is 1 to 5 in upm.yaml")

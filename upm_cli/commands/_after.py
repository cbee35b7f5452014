"""After a decision about what is live: hand it to the agents at once, for a short while, and never fail for it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.errors import TimedOutError, UpmError

if TYPE_CHECKING:
    from upm_cli.store.session import Store

NoSyncOption = Annotated[
    bool, typer.Option("--no-sync", help="Don't wait for agents: a worker or upm sync run brings it to them.")
]
WITHIN_S = 5.0


def hand_over(ctx: Context, store: "Store", trainer: str, *, no_sync: bool = False) -> dict[str, Any] | None:
    """Deliver to the adapters of `trainer`, for a few seconds at most, and return how many confirmed.

    None: it has no adapters. The decision stands whatever happens here: what goes wrong is a warning.
    """
    from upm_cli.store import adapters

    try:
        with store.read() as reader:
            total = sum(1 for row in adapters.list_all(reader) if row.trainer == trainer)
        if not total:
            return None
        if no_sync:
            return _counted(total, 0, 0)
        return _deliver(ctx, store, trainer)
    except TimedOutError as exc:
        ctx.say.warn(f"agents may not have it yet ({exc.message}): upm sync status")
    except UpmError as exc:
        ctx.say.warn(f"not handed to agents: {exc.message}; then: upm sync run")
    except Exception as exc:
        ctx.say.warn(f"not handed to agents: internal error ({type(exc).__name__}: {exc}); then: upm sync run")
    return _counted(total, 0, 0)


def _deliver(ctx: Context, store: "Store", trainer: str) -> dict[str, Any]:
    from upm_cli.ops.sync_run import run_pass

    ran = run_pass(store, ctx.clock, ctx.settings, command=ctx.command, within_s=WITHIN_S, trainers=(trainer,))
    return _counted(len(ran.rows), ran.confirmed, ran.errored)


def _counted(total: int, confirmed: int, errored: int) -> dict[str, Any]:
    return {"total": total, "confirmed": confirmed, "pending": total - confirmed - errored, "errored": errored}


def in_words(agents: dict[str, Any] | None) -> str:
    """Return one line about what `hand_over` returned, to put behind the answer; empty where there are no adapters."""
    if agents is None:
        return ""
    told = [f"{agents[name]} {name}" for name in ("pending", "errored") if agents[name]]
    rest = f", {', '.join(told)}: upm sync status" if told else ""
    return f"\n{agents['confirmed']}/{agents['total']} adapters confirmed{rest}"

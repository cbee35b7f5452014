"""Workers that somebody else runs: said before anything is started, or when they turn out to be, with who it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.errors import BusyError
from upm_cli.ids import iso
from upm_cli.store import lease
from upm_cli.store.filelock import Holder
from upm_cli.store.wishes import SUPERVISOR
from upm_cli.workers.tree import POLL_S, Child

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

PATIENCE_S: Final = 2.0  # for the workers of a run that was killed just now, which finish their unit of work
_INGEST: Final = "ingest-"


def refuse_taken(store: "Store", clock: Clock, settings: "Settings", children: Sequence[Child]) -> None:
    """Raise BusyError, naming the holder, when a worker that is to be started runs elsewhere."""
    until_s = clock.monotonic_s() + PATIENCE_S
    while (found := _taken(store, children)) is not None:
        if clock.monotonic_s() >= until_s or lease.holder(store.home, SUPERVISOR) is not None:
            raise _error(settings, *found)
        clock.sleep(POLL_S)


def refuse_taken_over(store: "Store", children: Sequence[Child]) -> None:
    """Raise BusyError, naming the holder, when a worker that was started here runs elsewhere.

    It may have been quicker by a moment, or have taken over what ran here: from outside both look the same.
    """
    found = _taken(store, children)
    if found is not None:
        worker, holder = found
        raise BusyError(
            f"{worker} is busy, held by {_who(holder)}; what this run had not committed is left to it",
            hint="nothing is lost: wait for it; upm ps and upm status show who works",
            code="UPM-E075",
            context=_about(worker, holder),
        )


def _who(holder: Holder) -> str:
    return f"{holder} since {iso(holder.since_ms)}"


def _about(worker: str, holder: Holder) -> dict[str, object]:
    return {"lease": worker, "pid": holder.pid, "command": holder.command, "since_ms": holder.since_ms}


def _error(settings: "Settings", worker: str, holder: Holder) -> BusyError:
    who, context = _who(holder), _about(worker, holder)
    if not worker.startswith(_INGEST):
        hint = "wait for it, or look at it with: upm status"
        return BusyError(f"{worker} is already running: {who}", hint=hint, code="UPM-E070", context=context)
    stream = worker.removeprefix(_INGEST)
    return BusyError(
        f"stream {stream} is being read by {who}; nothing of yours was read",
        hint=f"{_instead(settings, stream)}run it again once that has ended; upm status shows who works",
        code="UPM-E070",
        context=context,
    )


def _taken(store: "Store", children: Sequence[Child]) -> tuple[str, Holder] | None:
    for child in children:
        holder = lease.holder(store.home, child.name) if child.is_vital else None
        if holder is not None:
            return child.name, holder
    return None


def _instead(settings: "Settings", stream: str) -> str:
    """Return what to do at once, where the stream has sources of its own that are watched."""
    watched = [path for each in settings.supervisor.default_trainers if each.name == stream for path in each.sources]
    return f"put the file where it is looked for ({', '.join(watched[:3])}), or " if watched else ""

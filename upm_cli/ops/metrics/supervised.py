"""What a running supervisor says of its workers: what they do when they can't tell, and how often they were started."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upm_cli.store.session import Store

SUPERVISOR = "supervisor"
_MODULE = "upm_cli.ops.supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is said of one worker. `is_up` is None for a job that shares its process: its lease tells."""

    state: str
    restarts: int
    is_up: bool | None = None
    resident_bytes: int | None = None


def report(store: "Store") -> Any:
    """Return `ops.supervisor.report(store)`, the one place that asks for it; None without it, or when none runs."""
    return import_module(_MODULE).report(store) if find_spec(_MODULE) else None


def words(found: Any) -> dict[str, Word]:
    """Return what a report says, by the name of the worker; nothing when there is none."""
    if found is None:
        return {}
    told = {SUPERVISOR: Word(state=str(found.state), restarts=0, is_up=True)}
    for worker in found.workers:
        is_up, resident = worker.pid is not None, worker.rss_bytes
        told[worker.name] = Word(
            state=str(worker.state), restarts=worker.restarts, is_up=is_up, resident_bytes=resident
        )
        for name, job in worker.jobs.items():
            told[name] = _with_job(told.get(name), job)
    return told


def _with_job(process: Word | None, job: Mapping[str, Any]) -> Word:
    """Return the word for a job; for one that is alone in a process of its own name, the worse of the two."""
    state, restarts = str(job["state"]), int(job["restarts"])
    if process is None:
        return Word(state=state, restarts=restarts)
    return replace(
        process, state=state if process.state == "running" else process.state, restarts=process.restarts + restarts
    )

"""Which process does which jobs: each its own while there are few, whole streams together when there are many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

ROLLOUTS: Final = "rollouts"
_POOL: Final = "pool-"


class Kind(StrEnum):
    """What a job does."""

    INGEST = "ingest"  # for one stream
    TRAINER = "trainer"
    DRIFT = "drift"  # for one trainer
    ROLLOUTS = "rollouts"  # for all of them
    NOTIFY = "notify"  # tells webhooks, for all of them


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class JobSpec:
    """One job: its kind, the stream or trainer it is for, and where an ingest job reads."""

    kind: Kind
    name: str = ""
    sources: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()  # of an ingest job: what agents told the trainer `told`
    told: str = ""

    @property
    def label(self) -> str:
        """The name of its lease and its status file."""
        return f"{self.kind}-{self.name}" if self.name else str(self.kind)

    def to_plain(self) -> dict[str, Any]:
        read = {"sources": list(self.sources), "outcomes": list(self.outcomes), "told": self.told}
        return {"kind": str(self.kind), "name": self.name, **read}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return the job that `to_plain` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            kind=Kind(plain["kind"]),
            name=str(plain["name"]),
            sources=tuple(map(str, plain["sources"])),
            outcomes=tuple(map(str, plain["outcomes"])),
            told=str(plain["told"]),
        )


Placement = Mapping[str, tuple[JobSpec, ...]]  # by process


def is_pool(process: str) -> bool:
    """Say whether a process of that name does several jobs in turn."""
    return process.startswith(_POOL)


def place(
    groups: Mapping[str, Sequence[JobSpec]], before: Placement, max_workers: int, *, tells: bool = False
) -> Placement:
    """Return what each process is to do; `groups` are the jobs of each stream, which stay together in a pool.

    With no more jobs than `max_workers` each has a process of its own, called like the job. With more, the streams are
    spread over pools: one that has a pool keeps it, a new one goes where the fewest jobs are. The rollout ticker and,
    if it `tells`, the notifier come on top: they have little to do.
    """
    on_top = [JobSpec(kind=Kind.ROLLOUTS), *([JobSpec(kind=Kind.NOTIFY)] if tells else [])]
    jobs = [job for name in sorted(groups) for job in groups[name]]
    if len(jobs) + 1 <= max_workers or not jobs:
        return {job.label: (job,) for job in (*jobs, *on_top)}
    pools = [f"{_POOL}{number}" for number in range(1, min(max_workers, len(groups)) + 1)]
    placed: dict[str, list[JobSpec]] = {pool: [] for pool in pools}
    homes = _homes(groups, before, pools)
    for name in sorted(groups, key=lambda name: (name not in homes, name)):
        pool = homes.get(name) or min(pools, key=lambda each: len(placed[each]))
        placed[pool] += groups[name]
    placed[pools[0]] += on_top
    return {pool: tuple(found) for pool, found in placed.items()}


def _homes(groups: Mapping[str, Sequence[JobSpec]], before: Placement, pools: Sequence[str]) -> dict[str, str]:
    """Return the pool that each stream was in, of those there still are."""
    pool_of = {job.label: pool for pool in pools for job in before.get(pool, ())}
    found = {}
    for name, jobs in groups.items():
        known = [pool_of[job.label] for job in jobs if job.label in pool_of]
        if known:
            found[name] = known[0]
    return found

"""What came of deliveries and of looks, put into the rows: in memory at once, and in the state with the next commit.

The same function is applied to both. It changes nothing where a newer pointer was made since, so an old result never
wins over a new plan.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from upm_cli.core.delivery.claims import Key, key_of
from upm_cli.core.delivery.machine import (
    Failed,
    Found,
    RetryPolicy,
    failed,
    looked,
    place,
    started,
    succeeded,
)
from upm_cli.core.delivery.memo import Agents, Memo, remember
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.delivery.rate import Tally, counted
from upm_cli.core.records import Adapter
from upm_cli.core.versions import snapshot_id
from upm_cli.ops.sync_plan import ACTOR
from upm_cli.ops.sync_send import Outcome
from upm_cli.store import adapters, sync_tallies
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One try, with when it ended and the draw for the pause after it."""

    outcome: Outcome
    at_ms: int
    draw: float
    policy: RetryPolicy

    @property
    def key(self) -> Key:
        return self.outcome.key

    def apply(self, row: Adapter) -> Adapter:
        """Return what becomes of `row`."""
        outcome = self.outcome
        if outcome.error is None:
            agent = "" if outcome.ack is None else outcome.ack.agent
            return succeeded(row, outcome.sent, self.at_ms, agent)
        asked_s = outcome.error.retry_after_s
        what = Failed(
            at_ms=self.at_ms,
            failure=outcome.error.failure,
            message=outcome.error.message,
            draw=self.draw,
            asked_ms=None if asked_s is None else int(asked_s * 1000),
        )
        after = failed(row, outcome.sent, self.policy, what)
        return after if outcome.found is None or after is row else _beyond(after, outcome.found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a place was found to serve, and how its agents stand (None: they don't say)."""

    key: Key
    sent: Place
    at_ms: int
    found: Found | None
    agents: Agents | None = None

    def apply(self, row: Adapter) -> Adapter:
        """Return what becomes of `row`; nothing if another pointer was made meanwhile."""
        if self.sent != place(row):
            return row
        row = looked(row, self.found, self.at_ms)
        return row if self.agents == Memo.of(row).agents else remember(row, agents=self.agents)


def _beyond(row: Adapter, found: Found) -> Adapter:
    """Remember that the other side has taken a pointer beyond all of ours, if it has."""
    if found.place < place(row) or (found.place, found.digest) == (place(row), row.digest):
        return row
    return remember(row, seen=found.place)


@dataclass(slots=True)
class Book:
    """What happened since the last commit."""

    entries: list[Tried | Look] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def commit(self, store: "Store", under_way: Iterable[Key], recorder: Recorder) -> None:
        """Put it into the state in one commit, measure it, and begin anew. A row that is gone is passed over.

        Rows `under_way` are marked as being sent. Raises BusyError and StorageError; then nothing is lost.
        """
        tallies: list[Tally] = []
        kinds: dict[Key, str] = {}
        with store.write(actor=ACTOR) as tx:
            before = {key_of(row): row for row in adapters.list_all(tx)}
            rows = dict(before)
            for entry in self.entries:
                row = rows.get(entry.key)
                if row is None:
                    continue
                rows[entry.key], kinds[entry.key] = entry.apply(row), row.kind
                if isinstance(entry, Tried):
                    ok = entry.outcome.error is None
                    tallies.append(counted(row, rows[entry.key], ok=ok, at_ms=entry.at_ms))
            rows |= {key: started(rows[key]) for key in under_way if key in rows}
            adapters.put_many(tx, [row for key, row in rows.items() if row is not before[key]])
            sync_tallies.add(tx, tallies)
        for entry in self.entries:
            if isinstance(entry, Tried) and entry.key in kinds:
                _measure(recorder, entry, rows[entry.key])
        self.entries = []


def _measure(recorder: Recorder, tried: Tried, row: Adapter) -> None:
    """Record the telemetry of one try."""
    outcome = tried.outcome
    about = {"trainer_id": row.trainer, "kind": row.kind}
    what = {"adapter_id": adapter_id(row), "snapshot_id": _snapshot(row)}
    if outcome.error is None:
        recorder.record("upm.adapter.sync.success", {**what, "duration_ms": round(outcome.took_ms, 3)}, about)
        return
    reason = outcome.error.failure.value
    measured = {**what, "reason": reason, "retry_count": row.attempts}
    recorder.record("upm.adapter.sync.failure", measured, {**about, "reason": reason})


def measure_start(recorder: Recorder, rows: Iterable[Adapter]) -> None:
    """Record that these rows are about to be sent: one point for each snapshot."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.trainer, _snapshot(row))
        counts[key] = counts.get(key, 0) + 1
    for (trainer, snapshot), count in counts.items():
        measured: Mapping[str, object] = {"snapshot_id": snapshot, "adapter_count": count}
        recorder.record("upm.adapter.sync.start", measured, {"trainer_id": trainer})


def adapter_id(row: Adapter) -> str:
    """Return the one word for an adapter's row: its key, and its tenant if it has one."""
    return f"{row.adapter_key}/{row.tenant_id}" if row.tenant_id else row.adapter_key


def _snapshot(row: Adapter) -> str:
    return snapshot_id(row.trainer, row.version or 0)

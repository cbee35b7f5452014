"""Adapter sync: plan what is due, send it, record what came of it. Whoever runs it has the lease `adapter-sync`.

    plan     one commit: what every adapter is to have; pointers are made and signed     (ops/sync_plan.py)
    send     without any lock, in threads: rollbacks first, the failing ones last          (ops/sync_send.py)
    record   one commit for all that ended, about once a second and at the end             (ops/sync_record.py)

Killed anywhere, the next one sends what is not confirmed, and only that: a pointer is known by its place.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from upm_cli.adapters.base import DeliveryError
from upm_cli.clock import Clock
from upm_cli.core.delivery.breaker import Breaker, BreakerPolicy
from upm_cli.core.delivery.claims import ClaimPolicy, Key, blocked_until_ms, claim, endpoint_of, key_of
from upm_cli.core.delivery.desired import renewal_ms
from upm_cli.core.delivery.failures import OF_THE_ENDPOINT, Failure
from upm_cli.core.delivery.machine import RetryPolicy, is_due, is_settled, place
from upm_cli.core.delivery.memo import Memo
from upm_cli.core.records import Adapter, AdapterStatus
from upm_cli.ops.crew import Crew
from upm_cli.ops.sync_look import Looker, is_directory
from upm_cli.ops.sync_plan import Fleet, Trigger, make_plan
from upm_cli.ops.sync_record import Book, Known, Look, Tried, measure_start
from upm_cli.ops.sync_send import Kinds, Outcome, Sender, chunks
from upm_cli.ops.sync_signing import signing
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import AdapterSyncSettings, Settings
    from upm_cli.store.session import Store

RECORD_EVERY_S: Final = 1.0
PLAN_EVERY_MS: Final = 30_000  # whatever the events say
GRACE_S: Final = 5.0  # a thread that is this much over its time is given up
_TOGETHER: Final = 2  # jobs of one file system at a time: more only wait for the same disk
_LOOK_SOON_S: Final = 5.0  # after a delivery: by then agents have said that they have it
_LOOK_ROWS: Final = 100  # in one job


@dataclass(frozen=True, slots=True)
class _Job:
    """Rows that a thread works on."""

    rows: tuple[Adapter, ...]
    group: str | None
    is_look: bool
    begun_s: float


class Syncer:
    """One adapter sync at work. Use it in one thread; `close` it at the end."""

    def __init__(
        self,
        store: "Store",
        clock: Clock,
        settings: "Settings",
        *,
        recorder: Recorder,
        chance: random.Random,
        kinds: Kinds | None = None,
        crew: "Crew[Sequence[Outcome] | Sequence[Look]] | None" = None,
    ) -> None:
        from upm_cli.adapters.kinds import Kinds as AllKinds

        self._store, self._clock, self._settings = store, clock, settings
        self._recorder, self._chance = recorder, chance
        self._kinds = kinds or AllKinds(clock)
        self._limits = settings.adapter_sync
        self._crew = crew or Crew(self._limits.max_parallel)
        self._sender = Sender(settings, clock, self._kinds)
        self._looker = Looker(settings, clock, self._kinds)
        self._retry, self._breaking, self._claiming = _policies(self._limits)
        self._trigger = Trigger()
        self._fleet: Fleet | None = None
        self._rows: dict[Key, Adapter] = {}  # as they are now
        self._stored: Mapping[Key, Adapter] = {}  # as they stand in the state of …
        self._generation = -1
        self._breakers: dict[str, Breaker] = {}
        self._claimed: set[Key] = set()  # waiting for a thread, or under way
        self._waiting: deque[_Job] = deque()
        self._jobs: dict[int, _Job] = {}
        self._book = Book()
        self._recorded_s = -RECORD_EVERY_S
        self._looked_s: dict[Key, float] = {}

    @property
    def rows(self) -> list[Adapter]:
        """The adapters as they are now, with what is not committed yet."""
        return list(self._rows.values())

    @property
    def busy(self) -> int:
        """How many adapters are being sent to, or wait for a thread."""
        return len(self._claimed)

    def step(self, wait_s: float, *, looks: bool = False) -> None:
        """Plan if something may have changed, start what is due, take in what ended within `wait_s`, record.

        With `looks`, places in sync are looked at now and then. Raises BusyError and StorageError when the state can't
        be written now; the next step tries again, and nothing is lost.
        """
        if self._trigger.pulled(self._store, self._clock.now_ms()):
            self._plan()
        self._claim()
        if looks:
            self._look()
        self._dispatch()
        self._collect(wait_s)
        self._give_up_overdue()
        if self._book and (not self._jobs or self._clock.monotonic_s() - self._recorded_s >= RECORD_EVERY_S):
            self._record()

    def finish(self, within_s: float) -> None:
        """Begin nothing more, let end what is under way (for `within_s` at most), and record it."""
        self._claimed -= {key_of(row) for job in self._waiting for row in job.rows}
        self._waiting.clear()
        end_s = self._clock.monotonic_s() + within_s
        while self._jobs and (left_s := end_s - self._clock.monotonic_s()) > 0:
            self._collect(left_s)
        if self._book:
            self._record()

    def close(self) -> None:
        """Let go of the threads."""
        self._crew.close()

    def is_settled(self, only: Callable[[Adapter], bool] | None = None) -> bool:
        """Say whether nothing more comes of going on now: confirmed, given up, or behind an open breaker."""
        if self._fleet is None or self._trigger.pulled(self._store, self._clock.now_ms()):
            return False
        if self._book or any(only is None or only(self._rows[key]) for key in self._claimed if key in self._rows):
            return False
        now_ms = self._clock.now_ms()
        rows = (row for row in self._rows.values() if only is None or only(row))
        return all((is_settled(row) and not is_due(row, now_ms)) or self._is_blocked(row, now_ms) for row in rows)

    def _is_blocked(self, row: Adapter, now_ms: int) -> bool:
        return blocked_until_ms([row], self._breakers, now_ms, self._breaking) is not None

    def _plan(self) -> None:
        if self._book:
            self._record()  # the plan is made from the state: it must know what came of the last one
        now_ms = self._clock.now_ms()
        fleet = make_plan(self._store, self._clock, self._settings, signing(self._store.home))
        if self._fleet is None:
            self._breakers = _seeded(fleet.rows.values())
        self._fleet, self._rows = fleet, dict(fleet.rows)
        self._stored, self._generation = fleet.rows, fleet.generation
        renewals = [at for row in self._rows.values() if (at := renewal_ms(row)) is not None]
        self._trigger.reset(fleet, min([now_ms + PLAN_EVERY_MS, *(at for at in renewals if at > now_ms)]))

    def _claim(self) -> None:
        now_ms = self._clock.now_ms()
        rows = claim(self._rows.values(), self._claimed, self._breakers, now_ms, self._claiming, self._breaking)
        if not rows:
            return
        measure_start(self._recorder, rows)
        alone: list[Adapter] = []
        grouped: dict[str, list[Adapter]] = {}
        for row in rows:
            self._claimed.add(key_of(row))
            endpoint = endpoint_of(row)
            self._breakers[endpoint] = self._breakers.get(endpoint, Breaker()).sending(self._breaking)
            group = self._kinds.group(row)
            (alone if group is None else grouped.setdefault(group, [])).append(row)
        self._waiting += [_Job((row,), None, is_look=False, begun_s=0) for row in alone]
        for group, members in grouped.items():
            for chunk in chunks(members, self._size):
                self._waiting.append(_Job(tuple(chunk), group, is_look=False, begun_s=0))

    def _size(self, row: Adapter) -> int:
        assert self._fleet is not None
        model = self._fleet.targets[key_of(row)].model if key_of(row) in self._fleet.targets else None
        return 0 if model is None else model.file.size_bytes

    def _look(self) -> None:
        """Look at the places that are in sync and were not looked at for a while, when there is nothing else to do."""
        if self._waiting or not self._limits.look_ms:
            return
        now_s, every_s = self._clock.monotonic_s(), self._limits.look_ms / 1000
        due: dict[str | None, list[Adapter]] = {}
        for key, row in self._rows.items():
            if (
                key not in self._claimed
                and _is_looked_at(row)
                and now_s >= self._looked_s.setdefault(key, now_s - every_s * self._chance.random()) + every_s
            ):
                due.setdefault(self._kinds.group(row), []).append(row)
        self._queue_looks(due)

    def hear(self) -> None:
        """Look, in the next steps, at the directories in sync: what their agents say is only known by looking."""
        due: dict[str | None, list[Adapter]] = {}
        for key, row in self._rows.items():
            if self._limits.look_ms and key not in self._claimed and is_directory(row) and _is_looked_at(row):
                due.setdefault(self._kinds.group(row), []).append(row)
        self._queue_looks(due)

    @property
    def is_looking(self) -> bool:
        """Whether places are being looked at, or wait for it."""
        return any(job.is_look for job in (*self._jobs.values(), *self._waiting))

    def _queue_looks(self, due: Mapping[str | None, Sequence[Adapter]]) -> None:
        now_s = self._clock.monotonic_s()
        for group, rows in due.items():
            step = 1 if group is None else _LOOK_ROWS
            for first in range(0, len(rows), step):
                part = tuple(rows[first : first + step])
                self._looked_s |= dict.fromkeys(map(key_of, part), now_s)
                self._waiting.append(_Job(part, group, is_look=True, begun_s=0))

    def _dispatch(self) -> None:
        """Hand waiting jobs to free threads, not too many of one file system at a time."""
        running: Counter[str | None] = Counter(job.group for job in self._jobs.values())
        for _ in range(len(self._waiting)):
            if len(self._jobs) >= self._limits.max_parallel:
                return
            job = self._waiting.popleft()
            if job.group is not None and running[job.group] >= _TOGETHER:
                self._waiting.append(job)
                continue
            if self._is_in_vain(job):
                self._claimed -= set(map(key_of, job.rows))
                continue
            running[job.group] += 1
            self._jobs[self._crew.submit(self._work(job))] = replace(job, begun_s=self._clock.monotonic_s())

    def _is_in_vain(self, job: _Job) -> bool:
        """Say whether the endpoint of a job was found to be in trouble since it was claimed."""
        breakers = [self._breakers.get(endpoint_of(row), Breaker()) for row in job.rows]
        now_ms = self._clock.now_ms()
        return not job.is_look and all(each.cools(self._breaking, now_ms) for each in breakers)

    def _work(self, job: _Job) -> Callable[[], Sequence[Outcome] | Sequence[Look]]:
        if job.is_look:
            return lambda: self._looker.look(job.rows)
        assert self._fleet is not None
        fleet = self._fleet
        return lambda: self._sender.send(job.rows, fleet)

    def _collect(self, wait_s: float) -> None:
        for number, results in self._crew.collect(wait_s):
            job = self._jobs.pop(number)
            for result in results:
                self._take(result)
            if not job.is_look:
                self._claimed -= set(map(key_of, job.rows))

    def _take(self, result: Outcome | Look) -> None:
        """Put a result into the rows, and into the book for the next commit."""
        row = self._rows.get(result.key)
        if row is None:
            return
        entry = result if isinstance(result, Look) else self._tried(result, row)
        after = entry.apply(row)
        if isinstance(entry, Look) and after is row:
            return
        self._rows[result.key] = after
        self._book.enter(entry, row, after)
        if Memo.of(after).seen != Memo.of(row).seen or (isinstance(entry, Look) and after.status is not row.status):
            self._trigger.due_ms = 0  # the plan has to deal with it

    def _tried(self, outcome: Outcome, row: Adapter) -> Tried:
        now_ms, endpoint = self._clock.now_ms(), endpoint_of(row)
        is_well = outcome.error is None or outcome.error.failure not in OF_THE_ENDPOINT
        self._breakers[endpoint] = self._breakers.get(endpoint, Breaker()).ended(well=is_well, now_ms=now_ms)
        every_s = self._limits.look_ms / 1000
        self._looked_s[outcome.key] = self._clock.monotonic_s() - every_s + min(every_s, _LOOK_SOON_S)
        return Tried(outcome=outcome, at_ms=now_ms, draw=self._chance.random(), policy=self._retry)

    def _give_up_overdue(self) -> None:
        """Count a thread that does not come back as a timeout of its rows; another thread goes on in its place."""
        limit_s = self._limits.sync_timeout_ms / 1000 + GRACE_S
        now_s = self._clock.monotonic_s()
        for number, job in list(self._jobs.items()):
            if now_s - job.begun_s < limit_s:
                continue
            self._crew.give_up(number)
            del self._jobs[number]
            if job.is_look:
                continue
            self._claimed -= set(map(key_of, job.rows))
            for row in job.rows:
                error = DeliveryError(Failure.TIMEOUT, f"{row.location} did not answer, and could not be interrupted")
                took_ms = (now_s - job.begun_s) * 1000
                self._take(Outcome(key=key_of(row), sent=place(row), took_ms=took_ms, error=error))

    def _record(self) -> None:
        known = Known(self._generation, self._stored, self._rows)
        known = self._book.commit(self._store, known, self._claimed, self._recorder)
        self._rows, self._stored, self._generation = dict(known.after), known.after, known.generation
        self._recorded_s = self._clock.monotonic_s()


def _policies(limits: "AdapterSyncSettings") -> tuple[RetryPolicy, BreakerPolicy, ClaimPolicy]:
    return (
        RetryPolicy(
            max_retries=limits.max_retries, backoff_ms=limits.retry_backoff_ms, max_backoff_ms=limits.max_backoff_ms
        ),
        BreakerPolicy(failures=limits.breaker_failures, cooldown_ms=limits.breaker_cooldown_ms),
        ClaimPolicy(batch=limits.sync_batch_size, parallel=limits.max_parallel),
    )


def _is_looked_at(row: Adapter) -> bool:
    """Say whether the place of `row` is worth a look: it is in sync, or knows more than we do and may forget it."""
    return row.pointer is not None if row.status is AdapterStatus.SYNCED else Memo.of(row).seen is not None


def _seeded(rows: Iterable[Adapter]) -> dict[str, Breaker]:
    """Return the breakers as the rows remember them: an endpoint is in trouble if all of its adapters are."""
    found: dict[str, list[Adapter]] = {}
    for row in rows:
        found.setdefault(endpoint_of(row), []).append(row)
    return {
        endpoint: Breaker(
            failures=min(row.failures for row in of), failed_at_ms=max(row.last_error_at_ms or 0 for row in of)
        )
        for endpoint, of in found.items()
    }

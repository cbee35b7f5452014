"""The states of one adapter: pending → syncing → synced | errored, and what each observation makes of them.

    pending   its newest pointer is to be sent, now or at `next_attempt_at_ms`
    syncing   it is being sent; after a crash that is the same as pending
    synced    the other side confirmed the newest pointer: its digest and its place
    errored   every try failed, or one failed for good; it is still tried now and then unless that is in vain

A pointer is known by its place (epoch, serial): what is said about another one than the newest changes nothing, so
every function here may be called twice, late, or after a crash.
"""

from dataclasses import dataclass, replace
from typing import Final

from upm_cli.core.delivery.failures import FINAL, Failure
from upm_cli.core.delivery.memo import Memo, remember
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.records import Adapter, AdapterStatus

LONGEST_ASKED_MS: Final = 3_600_000  # nobody is left alone for longer, whatever they ask for
_MOST_DOUBLED: Final = 40  # 2^40 ms is longer than any pause


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a failed delivery is tried again."""

    max_retries: int = 3
    backoff_ms: int = 1000  # longest pause before the first retry
    max_backoff_ms: int = 60_000

    def __post_init__(self) -> None:
        if min(self.max_retries, self.backoff_ms, self.max_backoff_ms) < 0:
            raise ValueError("retries and pauses can't be negative")

    def pause_ms(self, attempts: int, draw: float, asked_ms: int | None = None) -> int:
        """Return how long to wait after `attempts` tries: drawn evenly up to a bound that doubles (full jitter).

        `draw` is from [0, 1). Where the other side asked to be left alone for longer, that counts, up to an hour.
        """
        bound = min(self.max_backoff_ms, self.backoff_ms << min(max(attempts - 1, 0), _MOST_DOUBLED))
        return max(int(draw * bound), min(asked_ms or 0, LONGEST_ASKED_MS))

    def probe_ms(self, draw: float, asked_ms: int | None = None) -> int:
        """Return how long to wait before one that is given up is tried once more: half of the longest pause to all."""
        return max(int((1 + draw) / 2 * self.max_backoff_ms), min(asked_ms or 0, LONGEST_ASKED_MS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One try that failed, with the draw for its pause."""

    at_ms: int
    failure: Failure
    message: str
    draw: float
    asked_ms: int | None = None  # to be left alone for so long


def place(row: Adapter) -> Place:
    """Return the place of the newest pointer that was made for `row`."""
    return Place(row.epoch, row.serial)


def acked(row: Adapter) -> Place:
    """Return the place that the other side has confirmed; (0, 0): none."""
    return Place(row.acked_epoch, row.acked_serial)


def is_due(row: Adapter, now_ms: int) -> bool:
    """Say whether the newest pointer of `row` is to be sent now."""
    if row.pointer is None or row.status is AdapterStatus.SYNCED:
        return False
    if row.next_attempt_at_ms is None:
        return row.status is not AdapterStatus.ERRORED
    return now_ms >= row.next_attempt_at_ms


def is_settled(row: Adapter) -> bool:
    """Say whether nothing more comes of waiting: confirmed, given up, or nothing to send."""
    return row.pointer is None or row.status in (AdapterStatus.SYNCED, AdapterStatus.ERRORED)


def started(row: Adapter) -> Adapter:
    """The newest pointer is on its way."""
    return replace(row, status=AdapterStatus.SYNCING) if row.status is AdapterStatus.PENDING else row


def succeeded(row: Adapter, sent: Place, at_ms: int, agent: str = "") -> Adapter:
    """The other side confirmed the pointer at `sent`."""
    if sent != place(row) or row.version is None:
        return row
    row = remember(row, agent=agent or None, seen=None, climbs=0, ended=sent)
    return replace(
        row,
        status=AdapterStatus.SYNCED,
        acked_version=row.version,
        acked_digest=row.digest,
        acked_epoch=row.epoch,
        acked_serial=row.serial,
        attempts=row.attempts + 1,
        failures=0,
        next_attempt_at_ms=None,
        last_error=None,
        last_error_at_ms=None,
        last_synced_at_ms=at_ms,
        updated_at_ms=at_ms,
    )


def failed(row: Adapter, sent: Place, policy: RetryPolicy, what: Failed) -> Adapter:
    """One try of the pointer at `sent` failed: it waits for the next one, or is given up."""
    if sent != place(row):
        return row
    attempts, is_final = row.attempts + 1, what.failure in FINAL
    gives_up = is_final or attempts > policy.max_retries or row.status is AdapterStatus.ERRORED
    if gives_up:
        pause = policy.probe_ms(what.draw, what.asked_ms)
    else:
        pause = policy.pause_ms(attempts, what.draw, what.asked_ms)
    if gives_up:
        row = remember(row, ended=sent)
    return replace(
        row,
        status=AdapterStatus.ERRORED if gives_up else AdapterStatus.PENDING,
        attempts=attempts,
        failures=row.failures + 1,
        next_attempt_at_ms=None if is_final else what.at_ms + pause,
        last_error=what.message,
        last_error_at_ms=what.at_ms,
        updated_at_ms=what.at_ms,
    )


def retried(row: Adapter, at_ms: int) -> Adapter:
    """A person wants it tried now, from the first try on."""
    if row.pointer is None:
        return row
    return replace(row, status=AdapterStatus.PENDING, attempts=0, next_attempt_at_ms=None, updated_at_ms=at_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a place was found to serve."""

    place: Place
    version: int
    digest: str


def looked(row: Adapter, found: Found | None, at_ms: int) -> Adapter:
    """The other side was asked what it serves; None: nothing.

    What it has lost is sent again. What goes beyond all that was made for it is remembered: the next plan deals with
    it (`desired.next_place`).
    """
    memo = Memo.of(row)
    if found is None:
        return _lost(row, None, at_ms) if row.status is AdapterStatus.SYNCED and row.acked_serial else row
    if (found.place, found.digest) == (acked(row), row.acked_digest):
        return row
    if (found.place, found.digest) == (place(row), row.digest):
        return succeeded(row, place(row), at_ms, memo.agent or "")
    is_let_down = memo.lowers is not None and memo.lowers >= found.place
    if found.place >= place(row) and not is_let_down:
        return row if memo.seen == found.place else remember(row, seen=found.place)
    return _lost(row, found, at_ms) if row.status is AdapterStatus.SYNCED else row


def _lost(row: Adapter, found: Found | None, at_ms: int) -> Adapter:
    """It is to be sent again; what is confirmed is what was found."""
    serves = "nothing" if found is None else f"v{found.version} of {found.place}"
    return replace(
        row,
        status=AdapterStatus.PENDING,
        acked_version=None if found is None else found.version,
        acked_digest=None if found is None else found.digest,
        acked_epoch=0 if found is None else found.place.epoch,
        acked_serial=0 if found is None else found.place.serial,
        attempts=0,
        next_attempt_at_ms=None,
        last_error=f"it served {serves} when it was looked at",
        last_error_at_ms=at_ms,
        updated_at_ms=at_ms,
    )

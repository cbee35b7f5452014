"""Sending: what a thread does with claimed rows, and what each of them comes to. Touches no state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from upm_cli.adapters.base import Ack, Adapter, Deadline, Delivery, DeliveryError, Failure
from upm_cli.adapters.directory import Directory
from upm_cli.adapters.together import deliver_together
from upm_cli.clock import Clock
from upm_cli.core import records
from upm_cli.core.delivery import envelope, pointer
from upm_cli.core.delivery.claims import Key, key_of
from upm_cli.core.delivery.machine import Found
from upm_cli.core.delivery.pointer import Place
from upm_cli.errors import StorageError, UpmError

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings

CHUNK_ROWS: Final = 48  # directories served in one go: each keeps a few descriptors open
CHUNK_BYTES: Final = 64 << 20  # of models that may have to be copied: one large model does not delay many small ones


class Kinds(Protocol):
    """Opens the adapters of rows; `adapters.kinds.Kinds`, or a stand-in of a test."""

    def open_adapter(self, row: records.Adapter, settings: "Settings", clock: Clock) -> Adapter: ...

    def group(self, row: records.Adapter) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one try at one row came to: an ack that confirms its pointer, or an error.

    `found` is what a place that refused says it serves.
    """

    key: Key
    sent: Place
    took_ms: float
    ack: Ack | None = None
    error: DeliveryError | None = None
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Does the sending of one adapter sync."""

    settings: "Settings"
    clock: Clock
    kinds: Kinds

    def send(self, rows: Sequence[records.Adapter], models: Mapping[tuple[str, int], Path]) -> list[Outcome]:
        """Send the newest pointer of each row, together where their kind can; never raises."""
        begun_s, deadline = self.clock.monotonic_s(), self._deadline()
        done: list[tuple[Adapter | None, Ack | DeliveryError]] = []
        if len(rows) > 1:
            done = self._together(rows, models, deadline)
        else:
            done = [self._alone(rows[0], models, deadline)]
        took_ms = (self.clock.monotonic_s() - begun_s) * 1000
        return [self._outcome(row, *each, took_ms) for row, each in zip(rows, done, strict=True)]

    def _deadline(self) -> Deadline:
        return Deadline.after(self.clock, self.settings.adapter_sync.sync_timeout_ms / 1000)

    def _alone(
        self, row: records.Adapter, models: Mapping[tuple[str, int], Path], deadline: Deadline
    ) -> tuple[Adapter | None, Ack | DeliveryError]:
        adapter: Adapter | None = None
        try:
            adapter = self.kinds.open_adapter(row, self.settings, self.clock)
            return adapter, adapter.deliver(delivery_of(row, models), deadline)
        except Exception as exc:  # whatever one adapter does, the others are served
            return adapter, as_failure(exc)

    def _together(
        self, rows: Sequence[records.Adapter], models: Mapping[tuple[str, int], Path], deadline: Deadline
    ) -> list[tuple[Adapter | None, Ack | DeliveryError]]:
        try:
            places = [self.kinds.open_adapter(row, self.settings, self.clock) for row in rows]
            wanted = [(place, delivery_of(row, models)) for place, row in zip(places, rows, strict=True)]
            directories = [(place, each) for place, each in wanted if isinstance(place, Directory)]
            return list(zip(places, deliver_together(directories, deadline), strict=True))
        except Exception as exc:
            return [(None, as_failure(exc))] * len(rows)

    def _outcome(
        self, row: records.Adapter, adapter: Adapter | None, done: Ack | DeliveryError, took_ms: float
    ) -> Outcome:
        """Believe an ack only if it names the digest and the place that were sent."""
        sent = Place(row.epoch, row.serial)
        if isinstance(done, Ack):
            if _confirms(done, row):
                return Outcome(key=key_of(row), sent=sent, took_ms=took_ms, ack=done)
            said = f"v{done.version} ({done.digest[:12]}…) of {done.place}"
            done = DeliveryError(Failure.LYING, f"asked for v{row.version} of {sent}, it says that it serves {said}")
        found: Found | None = None
        if adapter is not None and done.failure is Failure.REFUSED:
            found = self._ask(adapter, row)
        return Outcome(key=key_of(row), sent=sent, took_ms=took_ms, error=done, found=found)

    def _ask(self, adapter: Adapter, row: records.Adapter) -> Found | None:
        """Ask a place that refused what it serves: it may know of later pointers than we do."""
        try:
            ack = adapter.report(row.trainer, row.tenant_id, self._deadline())
        except Exception:
            return None
        return None if ack is None else Found(place=ack.place, version=ack.version, digest=ack.digest)


def delivery_of(row: records.Adapter, models: Mapping[tuple[str, int], Path]) -> Delivery:
    """Return what is to be sent for `row`. Raises UpmError when its pointer or its model is not to be had."""
    raw = (row.pointer or "").encode()
    wanted = pointer.decode(envelope.decode(raw, pointer.PAYLOAD_TYPE).payload)
    path = models.get((wanted.trainer, wanted.version))
    if path is None:
        raise DeliveryError(Failure.DISK, f"the model of {wanted.trainer}@{wanted.version} is not there any more")
    return Delivery(pointer=wanted, envelope=raw, model=path)


def as_failure(exc: Exception) -> DeliveryError:
    """Return anything that went wrong while sending as a failed delivery."""
    if isinstance(exc, DeliveryError):
        return exc
    if isinstance(exc, StorageError):
        return DeliveryError(Failure.DISK, exc.message, hint=exc.hint)
    if isinstance(exc, UpmError):
        return DeliveryError(Failure.REFUSED, exc.message, hint=exc.hint)
    return DeliveryError(Failure.DISK, f"internal error ({type(exc).__name__}: {exc})")


def chunks(rows: Sequence[records.Adapter], size_of: Callable[[records.Adapter], int]) -> list[list[records.Adapter]]:
    """Cut rows that are served together into jobs that are neither too many nor too heavy."""
    found: list[list[records.Adapter]] = []
    weight = 0
    for row in rows:
        size = size_of(row)
        if not found or len(found[-1]) >= CHUNK_ROWS or weight + size > CHUNK_BYTES:
            found.append([])
            weight = 0
        found[-1].append(row)
        weight += size
    return found


def _confirms(ack: Ack, row: records.Adapter) -> bool:
    asked = (row.trainer, row.tenant_id, row.version, row.digest, Place(row.epoch, row.serial))
    return asked == (ack.trainer, ack.tenant, ack.version, ack.digest, ack.place)

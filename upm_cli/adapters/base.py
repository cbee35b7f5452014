"""What an adapter does: take a pointer and its model to one place, and say what is served there afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from upm_cli.clock import Clock
from upm_cli.core.delivery.failures import FINAL, Failure
from upm_cli.core.delivery.pointer import Place, Pointer
from upm_cli.errors import PartialError

__all__ = ["FINAL", "Ack", "Adapter", "Deadline", "Delivery", "DeliveryError", "Failure"]


class DeliveryError(PartialError):
    """One delivery failed. `retry_after_s`: the other side asked to be left alone for so long."""

    default_code = "UPM-E120"

    def __init__(self, failure: Failure, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, context={"failure": failure.value})
        self.failure = failure
        self.retry_after_s = retry_after_s

    @property
    def is_final(self) -> bool:
        return self.failure in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is to be taken somewhere: the pointer, its envelope as signed, and the stored file of its model."""

    pointer: Pointer
    envelope: bytes
    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """What one place says it serves now to one tenant of one trainer. `agent` is the name it gives itself."""

    agent: str
    trainer: str
    tenant: str
    version: int
    digest: str
    place: Place
    loaded_at_ms: int | None = None

    def confirms(self, pointer: Pointer) -> bool:
        """Say whether this is what `pointer` asked for."""
        asked = (pointer.trainer, pointer.tenant, pointer.version, pointer.digest, pointer.place)
        return asked == (self.trainer, self.tenant, self.version, self.digest, self.place)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which something has to be done, however many steps it takes."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        return cls(clock, clock.monotonic_s() + seconds)

    def left_s(self) -> float:
        """Return the seconds that are left. Raises DeliveryError when there are none."""
        left = self.at_s - self.clock.monotonic_s()
        if left <= 0:
            raise DeliveryError(Failure.TIMEOUT, "it took longer than adapter_sync.sync_timeout_ms")
        return left


class Adapter(Protocol):
    """One kind of place. Objects are used by one thread at a time and hold nothing between deliveries."""

    def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
        """Take the delivery there and return what is served there afterwards, read back from there.

        Sends only what is missing; twice is the same as once. Raises DeliveryError.
        """
        ...

    def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
        """Return what is served there now, proven as far as that can be; None: nothing. Raises DeliveryError."""
        ...

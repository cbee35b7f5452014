"""Directories as places: versioned models and an atomic pointer, for any number of agents that see them.

The layout is that of `core.delivery.places`. Many directories are served together (`adapters/together.py`), because
making one file durable costs as much as making a hundred.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.adapters.acks import read_ack
from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.adapters.sums import Sums
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope, places, pointer
from upm_cli.core.delivery.envelope import strict_object
from upm_cli.core.delivery.pointer import ModelFile, Pointer
from upm_cli.errors import IntegrityError
from upm_cli.store.folders import Folder
from upm_cli.store.surroundings import refuse_unsafe

OTHERS: Final = "hand a model of their own to the agents"
Look = tuple[int, int, int, int]
MOST_AGENTS: Final = 10_000  # acks read of one pointer
_ACK_BYTES: Final = 64 << 10
_LOCK_PAUSE_S: Final = 0.01
_LINKS: Final = {errno.ELOOP, errno.ENOTDIR}
_GONE: Final = {errno.ENOENT, errno.ESTALE, errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one agent wrote about itself, and when it did."""

    ack: Ack
    at_ms: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory. Implements `adapters.base.Adapter`."""

    location: Path
    clock: Clock
    sums: Sums

    def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
        """See `Adapter.deliver`."""
        from upm_cli.adapters.together import deliver_together

        (done,) = deliver_together([(self, delivery)], deadline)
        if isinstance(done, DeliveryError):
            raise done
        return done

    def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
        """See `Adapter.report`: the pointer that lies there, if the model that it names is there too, whole."""
        with telling(self.location), self.open() as here:
            found = read_pointer(here, trainer, tenant)
            if found is None or not has_model(here, found.digest, found.model, self.sums, deadline.left_s):
                return None
            return ack_of(found)

    def heard(self, trainer: str, tenant: str, deadline: Deadline) -> list[Heard]:
        """Return what the agents of one pointer wrote about themselves, by name; what can't be read is passed over."""
        found = []
        with telling(self.location), self.open() as here:
            try:
                folder = here.below(places.ACKS, trainer, places.slug(tenant))
            except FileNotFoundError:
                return []
            with folder:
                for name in folder.names()[:MOST_AGENTS]:
                    deadline.left_s()
                    heard = _heard(folder, name)
                    if heard is not None and (heard.ack.trainer, heard.ack.tenant) == (trainer, tenant):
                        found.append(heard)
        return found

    @contextmanager
    def open(self) -> Iterator[Folder]:
        """Open the directory; refuses one that is a link by now, or that somebody else could change."""
        if os.path.realpath(self.location) != str(self.location):
            raise DeliveryError(Failure.FORBIDDEN, f"{self.location} is, or leads through, a link by now")
        with Folder.open(self.location) as here:
            refuse_unsafe(here, others=OTHERS)
            yield here

    def lock(self, here: Folder, deadline: Deadline) -> None:
        """Take the directory for this process alone, so that two of them never mix. Raises DeliveryError."""
        while not here.lock():
            try:
                deadline.left_s()
            except DeliveryError as exc:
                raise DeliveryError(Failure.BUSY, f"somebody else writes {self.location} all the time") from exc
            self.clock.sleep(_LOCK_PAUSE_S)


@contextmanager
def telling(location: Path) -> Iterator[None]:
    """Turn what the operating system says about `location` into a DeliveryError."""
    try:
        yield
    except IntegrityError as exc:
        raise DeliveryError(Failure.FORBIDDEN, exc.message, hint=exc.hint) from exc
    except OSError as exc:
        raise failure(exc, location) from exc


def failure(exc: OSError, location: Path) -> DeliveryError:
    """Return the error that tells what the operating system said about something in `location`."""
    what = f"{exc.strerror or exc} ({exc.filename or location})"
    if exc.errno in _LINKS:
        return DeliveryError(
            Failure.FORBIDDEN,
            f"something in {location} is a link, or not what it should be: {what}",
            hint="look at it, remove it, then: upm sync retry",
        )
    if exc.errno in _GONE:
        return DeliveryError(Failure.UNREACHABLE, f"{location} is not there: {what}")
    return DeliveryError(Failure.DISK, f"{location} can't be used: {what}")


def modes(here: Folder) -> tuple[int, int]:
    """Return the modes of new files and folders: who may read the directory may read what is put into it."""
    mode = here.stat().st_mode
    return 0o600 | mode & 0o044, 0o700 | mode & 0o055


def read_pointer(here: Folder, trainer: str, tenant: str) -> Pointer | None:
    """Return the pointer that lies in the open directory; None where there is none, or nothing that is one."""
    raw = read_envelope(here, trainer, tenant)
    return None if raw is None else pointer_in(raw)


def read_envelope(here: Folder, trainer: str, tenant: str) -> bytes | None:
    """Return the bytes at the place of a pointer."""
    try:
        folder = here.below(places.POINTERS, trainer)
    except FileNotFoundError:
        return None
    with folder:
        return folder.read(f"{places.slug(tenant)}.json", envelope.MAX_ENVELOPE_BYTES)


def pointer_in(raw: bytes) -> Pointer | None:
    """Return the pointer in the bytes of an envelope; None when they are not one. No signature is looked at."""
    try:
        return pointer.decode(envelope.decode(raw, pointer.PAYLOAD_TYPE).payload)
    except IntegrityError:
        return None


def has_model(here: Folder, digest: str, wanted: ModelFile, sums: Sums, still: Callable[[], object]) -> bool:
    """Say whether the model is in the open directory, byte by byte."""
    try:
        folder = here.below(places.MODELS)
    except FileNotFoundError:
        return False
    with folder:
        return whole(folder, name_of(digest, wanted), wanted, sums, still) is not None


def whole(models: Folder, name: str, wanted: ModelFile, sums: Sums, still: Callable[[], object]) -> Look | None:
    """Return how the file `name` of the open folder `models` looks if it has the bytes that are wanted, else None."""
    try:
        with models.file(name) as (fd, found):
            is_right = found.st_size == wanted.size_bytes and sums.of(fd, still) == wanted.file_digest
            return look_of(found) if is_right else None
    except FileNotFoundError:
        return None


def look_of(found: os.stat_result) -> Look:
    """Return what stays as it is while nobody touches a file: where it is, its size and its time."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def name_of(digest: str, wanted: ModelFile) -> str:
    """Return the file name of a model."""
    return places.model(digest, wanted.codec).partition("/")[2]


def ack_of(found: Pointer) -> Ack:
    """Return what a directory says it serves: no agent has spoken."""
    return Ack(
        agent="",
        trainer=found.trainer,
        tenant=found.tenant,
        version=found.version,
        digest=found.digest,
        place=found.place,
    )


def _heard(folder: Folder, name: str) -> Heard | None:
    if not name.endswith(".json") or name.startswith("."):
        return None
    try:
        with folder.file(name) as (fd, found):
            ack = read_ack(strict_object(os.read(fd, _ACK_BYTES + 1), "the ack", _ACK_BYTES))
    except (OSError, IntegrityError):
        return None  # gone since it was listed, a link, or nothing an agent would write
    return Heard(ack=ack, at_ms=found.st_mtime_ns // 1_000_000) if stat.S_ISREG(found.st_mode) else None

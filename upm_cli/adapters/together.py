"""Deliveries to many directories at once: all write, then one flush, all rename, then one more.

Each delivery is a small routine that stops where its files must be durable before it may go on. They march in step;
one that fails drops out and leaves the others alone.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from upm_cli.adapters import tidy
from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.adapters.directory import (
    OTHERS,
    Directory,
    Look,
    ack_of,
    look_of,
    modes,
    name_of,
    pointer_in,
    telling,
    whole,
)
from upm_cli.core.delivery import envelope, places
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.store import transfer
from upm_cli.store.folders import Folder
from upm_cli.store.surroundings import refuse_unsafe

PREVIOUS: Final = ".previous"  # .<slug>.previous: the pointer before, whose model is kept as well

Outcome = Ack | DeliveryError
_Steps = Generator[list[int], None, Ack]  # yields what must be durable before it goes on


def deliver_together(wanted: Sequence[tuple[Directory, Delivery]], deadline: Deadline) -> list[Outcome]:
    """Do what `Directory.deliver` does for many, in the time of one. Never raises: each has an outcome of its own.

    Directories are locked in the order of their names, so that two batches can't wait for each other.
    """
    with contextlib.ExitStack() as stack:
        opened: dict[Path, _Opened | DeliveryError] = {}
        for location, directory in sorted({each.location: each for each, _ in wanted}.items()):
            opened[location] = _open(stack, directory, deadline)
        steps: list[_Steps | DeliveryError] = []
        for directory, delivery in wanted:
            here = opened[directory.location]
            if isinstance(here, DeliveryError):
                steps.append(here)
            else:
                routine = _steps(here, delivery, deadline)
                stack.callback(routine.close)
                steps.append(routine)
        outcomes = _march(steps, [directory.location for directory, _ in wanted])
        for here in opened.values():
            if isinstance(here, _Opened) and here.staged:
                tidy.remove_old(here.folder, here.directory.clock.now_ms())
    return outcomes


@dataclass(slots=True)
class _Opened:
    """A directory that was opened and locked for one batch."""

    directory: Directory
    folder: Folder
    file_mode: int
    folder_mode: int
    staged: set[str] = field(default_factory=set)  # models that an earlier delivery of the batch brings


def _open(stack: contextlib.ExitStack, directory: Directory, deadline: Deadline) -> "_Opened | DeliveryError":
    try:
        with telling(directory.location):
            folder = stack.enter_context(directory.open())
            directory.lock(folder, deadline)
            return _Opened(directory, folder, *modes(folder))
    except DeliveryError as exc:
        return exc


def _march(steps: "Sequence[_Steps | DeliveryError]", locations: Sequence[Path]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {n: each for n, each in enumerate(steps) if isinstance(each, DeliveryError)}
    going = {n: each for n, each in enumerate(steps) if not isinstance(each, DeliveryError)}
    broken: OSError | None = None
    while going:
        fds: list[int] = []
        for n, routine in list(going.items()):
            try:
                with telling(locations[n]):
                    fds += next(routine) if broken is None else routine.throw(broken)
            except StopIteration as end:
                outcomes[n] = end.value
                del going[n]
            except DeliveryError as exc:
                outcomes[n] = exc
                del going[n]
        broken = _sync(fds, locations[0])
    return [outcomes[n] for n in range(len(steps))]


def _sync(fds: Sequence[int], path: Path) -> OSError | None:
    try:
        transfer.sync_together(fds, path)
    except OSError as exc:
        return exc
    return None


def _steps(here: _Opened, delivery: Delivery, deadline: Deadline) -> _Steps:
    """Bring one pointer and its model; return what lies there in the end, read back."""
    wanted, still = delivery.pointer, deadline.left_s
    still()
    with contextlib.ExitStack() as stack:
        models = _below(stack, here, places.MODELS)
        pointers = _below(stack, here, places.POINTERS, wanted.trainer)
        name = f"{places.slug(wanted.tenant)}.json"
        before = pointers.read(name, envelope.MAX_ENVELOPE_BYTES)
        known = None if before is None or before == delivery.envelope else pointer_in(before)
        _refuse_older(known, wanted)
        model, look = _stage_model(stack, here, models, delivery, still)
        pointer = None if before == delivery.envelope else _stage(stack, here, pointers, name)
        if pointer is not None:
            transfer.write_all(pointer.fd, delivery.envelope, pointers.path / name)
        # What is there already may be what a killed process left: then only its name is to be made durable.
        yield [models.fd if model is None else model.fd, pointers.fd if pointer is None else pointer.fd]
        still()
        yield [] if model is None else model.put()
        still()
        if pointer is not None and known is not None and known.digest != wanted.digest:
            # Its model must not be removed while agents may still load it: it stays findable.
            pointers.link(name, f".{places.slug(wanted.tenant)}{PREVIOUS}")
        yield [] if pointer is None else pointer.put()
        if pointers.read(name, envelope.MAX_ENVELOPE_BYTES) != delivery.envelope:
            raise DeliveryError(Failure.LYING, f"{pointers.path} holds another pointer than was written")
        with models.file(name_of(wanted.digest, wanted.model)) as (_, found):
            if look is not None and look_of(found) != look:
                raise DeliveryError(Failure.LYING, f"{models.path} holds another model than was written")
    return ack_of(wanted)


def _below(stack: contextlib.ExitStack, here: _Opened, *names: str) -> Folder:
    folder = stack.enter_context(here.folder.below(*names, mode=here.folder_mode))
    refuse_unsafe(folder, others=OTHERS)
    return folder


def _refuse_older(known: Pointer | None, wanted: Pointer) -> None:
    """Never put an older pointer over a newer one: whoever wrote that knows more than we do."""
    if known is None or known.place <= wanted.place:
        return
    if wanted.lowers_from is not None and wanted.lowers_from >= known.place:
        return
    raise DeliveryError(
        Failure.REFUSED, f"there is a pointer of {known.place} already, newer than this one of {wanted.place}"
    )


@dataclass(slots=True)
class _Staged:
    """A file that is written under another name and becomes `name` with `put`."""

    folder: Folder
    fd: int
    temporary: str
    name: str
    is_put: bool = False

    def put(self) -> list[int]:
        """Give the file its name; return what must be flushed for that to last."""
        self.folder.rename(self.temporary, self.name)
        self.is_put = True
        return [self.folder.fd]

    def undo(self) -> None:
        if not self.is_put:
            with contextlib.suppress(OSError):
                self.folder.drop(self.temporary)


def _stage(stack: contextlib.ExitStack, here: _Opened, folder: Folder, name: str) -> _Staged:
    fd, temporary = folder.new_file(name, here.file_mode)
    stack.callback(os.close, fd)
    staged = _Staged(folder, fd, temporary, name)
    stack.callback(staged.undo)
    return staged


def _stage_model(
    stack: contextlib.ExitStack, here: _Opened, models: Folder, delivery: Delivery, still: Callable[[], object]
) -> tuple[_Staged | None, Look | None]:
    """Copy the model beside its name, unless it is there or on its way; return how the proven file looks.

    It is read once: what is there as it is, what was copied as it was written. A look of None: another delivery of
    this batch brings it and looks at it.
    """
    wanted, model = delivery.pointer, delivery.pointer.model
    name = name_of(wanted.digest, model)
    if name in here.staged:
        return None, None
    look = whole(models, name, model, here.directory.sums, still)
    if look is not None:
        return None, look
    staged = _stage(stack, here, models, name)
    try:
        with Folder.open(delivery.model.parent) as blobs, blobs.file(delivery.model.name) as (source, _):
            transfer.copy_into(source, staged.fd, models.path / name, still)
    except FileNotFoundError as exc:
        raise _damaged(wanted, "is gone") from exc
    if transfer.sha256_of(staged.fd, still) != model.file_digest:
        raise _damaged(wanted, "is not what was written")
    here.staged.add(name)
    return staged, look_of(os.fstat(staged.fd))


def _damaged(wanted: Pointer, what: str) -> DeliveryError:
    hint = f"upm snapshot verify {wanted.trainer} {wanted.version}"
    message = f"the file of {wanted.trainer}@{wanted.version} {what}: it is not handed out"
    return DeliveryError(Failure.DISK, message, hint=hint)

"""A model directory that somebody else fills: where its pointer is, and whether that has changed."""

import contextlib
import functools
from pathlib import Path

from upm_cli.agent import files
from upm_cli.agent.errors import NothingToServeError
from upm_cli.agent.loading import OpenFile
from upm_cli.core.delivery import envelope, places
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.errors import UsageError
from upm_cli.ids import check_name


class Directory:
    """One tenant's pointer in a model directory."""

    def __init__(self, root: Path, trainer: str, tenant: str) -> None:
        self.root = root
        self.name = places.pointer(trainer, tenant)

    def __str__(self) -> str:
        return str(self.root)

    def stamp(self) -> files.Stamp | None:
        """Return what changes when the pointer does: one look at the file system."""
        return files.stamp(self.root / self.name)

    def fetch(self) -> bytes:
        """Return the envelope that is there. Raises NothingToServeError, UnreachableError, DamagedError."""
        try:
            return files.read_small(self.root, self.name, envelope.MAX_ENVELOPE_BYTES)
        except FileNotFoundError as exc:
            raise NothingToServeError(
                f"there is no pointer {self.name} in {self.root}",
                hint="upm adapter list shows what is sent where; upm sync run sends it",
            ) from exc

    def opener(self, pointer: Pointer) -> OpenFile:
        """Return what opens the stored file of the model."""
        return model_opener(self.root, pointer)


def model_opener(root: Path, pointer: Pointer) -> OpenFile:
    """Return what opens the stored file of the model of `pointer` below `root`."""
    return functools.partial(files.opened, root, places.model(pointer.digest, pointer.model.codec))


def trainers_in(root: Path, tenant: str) -> list[str]:
    """Return the trainers that have a pointer for `tenant` below `root`."""
    found = []
    for path in sorted((root / places.POINTERS).glob(f"*/{places.slug(tenant)}.json")):
        with contextlib.suppress(UsageError):
            found.append(check_name(path.parent.name, "trainer"))
    return found

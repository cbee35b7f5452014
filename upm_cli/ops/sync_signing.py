"""Who signs pointers: the one place where adapter sync meets the keys of the project."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.errors import UpmError


class Signer(Protocol):
    """A key that is used."""

    @property
    def keyid(self) -> str: ...

    def sign(self, envelope: Envelope) -> Signature:
        """Return the signature of `envelope` by this key."""
        ...


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs pointers now; None: nothing does, and `problem` says so if it should be possible."""

    signer: Signer | None = None
    problem: str = ""

    @property
    def keyid(self) -> str | None:
        return None if self.signer is None else self.signer.keyid


def signing(home: Path) -> Signing:
    """Return what signs the pointers of the project whose .upm folder is `home`.

    A key that can't be used stops nothing by itself: agents that want signatures refuse what has none.
    """
    try:
        keys = importlib.import_module("upm_cli.ops.keys")
    except ModuleNotFoundError:
        return Signing()
    try:
        found: Signer | None = keys.signer(home)
    except UpmError as exc:
        return Signing(problem=exc.message)
    return Signing(found)

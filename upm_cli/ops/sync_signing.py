"""Who signs pointers: the one place where adapter sync meets the keys of the project."""

from dataclasses import dataclass
from pathlib import Path

from upm_cli.errors import UpmError
from upm_cli.ops import keys
from upm_cli.ops.keys import Signer


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
        return Signing(keys.signer(home))
    except UpmError as exc:
        return Signing(problem=exc.message)

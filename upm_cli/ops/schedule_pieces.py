"""What `upm schedule install` and `remove` change on this machine, piece by piece: a unit, or a block of a crontab.

Each carries a digest of what upm wrote, so that what a person changed since is told from what is only out of date.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.errors import RefusedError

CRON: Final = "cron"
SYSTEMD: Final = "systemd"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One text on this machine: as it is and as it is to be; None is nothing. `edited`: a person changed it since."""

    kind: str  # cron | systemd
    where: str  # a path, or whose crontab
    before: str | None
    after: str | None
    edited: bool = False

    @property
    def change(self) -> str:
        """Return create, replace, remove or none."""
        if self.before == self.after:
            return "none"
        if self.before is None:
            return "create"
        return "remove" if self.after is None else "replace"

    def diff(self) -> list[str]:
        """Return the lines of a unified diff; none when nothing changes."""
        before, after = (text.splitlines() if text is not None else [] for text in (self.before, self.after))
        old, new = ("/dev/null" if text is None else self.where for text in (self.before, self.after))
        return list(difflib.unified_diff(before, after, old, new, lineterm=""))


def name_of(project: Path) -> str:
    """Return a name for the units and markers of a project, which no other folder has: shop-1a2b3c4d."""
    slug = _UNFIT.sub("-", project.name).strip("-")[:32] or "project"
    return f"{slug}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:8]}"


def digest(text: str) -> str:
    """Return what stands beside a text that upm wrote."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def refuse_edited(pieces: Iterable[Piece], force: bool) -> None:
    """Leave alone what a person changed, unless forced. Raises RefusedError."""
    edited = [piece for piece in pieces if piece.edited and piece.change != "none"]
    if edited and not force:
        raise RefusedError(
            f"{edited[0].where} is not as upm wrote it: somebody edited it since; nothing was changed",
            hint="--dry-run shows the difference, --force does it anyway",
            code="UPM-E187",
            context={"edited": [piece.where for piece in edited]},
        )


def diff_of(pieces: Sequence[Piece]) -> str:
    """Return the diffs of all pieces as one text."""
    return "\n".join(line for piece in pieces for line in piece.diff())

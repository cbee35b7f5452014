"""What surrounds a folder that is not ours alone: who could change it, and which file system it lies on."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from upm_cli.errors import IntegrityError
from upm_cli.store import fsio
from upm_cli.store.folders import Folder


def refuse_unsafe(folder: Folder, *, others: str) -> None:
    """Raise IntegrityError when somebody else could change what lies in `folder`: they own it, or all may write.

    `others` says what they could do with it.
    """
    found = folder.stat()
    if found.st_uid not in (0, os.getuid()):
        raise _unsafe(folder.path, f"belongs to user {found.st_uid}", others)
    if found.st_mode & stat.S_IWOTH:
        raise _unsafe(folder.path, "can be written by everybody", others)


def refuse_unsafe_way(path: Path, *, others: str) -> None:
    """The same for every folder above `path`: whoever may rename one of them may put another one there.

    A folder that everybody may write is all right where only owners may rename (the sticky bit, as on /tmp).
    """
    for above in path.parents:
        with fsio.telling(above, "look at"):
            found = above.stat()
        if found.st_uid not in (0, os.getuid()):
            raise _unsafe(above, f"belongs to user {found.st_uid}", others)
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise _unsafe(above, "can be written by everybody", others)


def _unsafe(path: Path, why: str, others: str) -> IntegrityError:
    return IntegrityError(
        f"{path} {why}, who could then {others}",
        hint=f"chmod o-w {path}, and let it belong to you or root",
        code="UPM-E123",
        context={"path": str(path)},
    )


def mount_points() -> list[str]:
    """Return where file systems are mounted, the longest paths first; empty where that can't be told.

    Read from the kernel's list, not from the file systems: one that hangs hangs nobody who only asks where it is.
    """
    try:
        text = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return []
    found = {_unescaped(line.split()[4]) for line in text.splitlines()}
    return sorted(found, key=len, reverse=True)


def mount_of(path: str, points: Iterable[str]) -> str:
    """Return which of the mount `points` (longest first) `path` lies below; the path itself when none is known."""
    for point in points:
        if path == point or path.startswith(point.rstrip("/") + "/"):
            return point
    return path


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text

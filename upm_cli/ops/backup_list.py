"""`upm backup list`: what backups there are in a folder, by what they say of themselves."""

from dataclasses import dataclass
from pathlib import Path

from upm_cli.core import backup
from upm_cli.core.backup import About
from upm_cli.errors import NotFoundError, UpmError
from upm_cli.store import backupfile, fsio


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that is called like a backup. `whole`: it begins and ends like one; that no byte changed, verify says."""

    file: Path
    size_bytes: int
    whole: bool
    about: About | None
    why: str = ""


def listed(folder: Path) -> list[Found]:
    """Return the backups in `folder`, oldest first; those that can't be read come first."""
    with fsio.telling(folder, "list"):
        files = sorted(path for path in folder.glob(f"[!.]*{backup.SUFFIX}") if path.is_file())
    found = [_found(path) for path in files]
    return sorted(found, key=lambda each: (each.about.created_at if each.about else "", each.file.name))


def newest(folder: Path) -> Path:
    """Return the newest backup in `folder`. Raises NotFoundError where there is none."""
    found = listed(folder)
    if not found:
        raise NotFoundError(f"no backup in {folder}", hint="upm backup create makes one", code="UPM-E193")
    return found[-1].file


def _found(path: Path) -> Found:
    size = path.stat().st_size if path.exists() else 0
    try:
        with backupfile.opened(path) as reader:
            return Found(file=path, size_bytes=size, whole=True, about=reader.about)
    except UpmError as exc:
        return Found(file=path, size_bytes=size, whole=False, about=None, why=exc.message)

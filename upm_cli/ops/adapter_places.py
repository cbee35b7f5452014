"""Checking the places of adapters before anything is sent there: folders, and files with tokens and certificates."""

import os
import stat
from pathlib import Path
from typing import Final

from upm_cli.errors import IntegrityError, UsageError
from upm_cli.store import fsio
from upm_cli.store.folders import Folder
from upm_cli.store.surroundings import refuse_unsafe, refuse_unsafe_way

_OTHERS: Final = "hand a model of their own to the agents"


def check_directory(path: Path, home: Path, *, dry_run: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return the folder without links in it, made if it is missing, and warnings for people.

    Raises IntegrityError when somebody else could change it, UsageError when it is none or lies in the project's own
    .upm, StorageError.
    """
    real = Path(os.path.realpath(path))
    if not str(real).isprintable():
        raise UsageError(f"{str(path)!r} has characters that can't be shown", hint="name it otherwise", code="UPM-E121")
    if real == home or home in real.parents:
        raise UsageError(f"{path} lies in {home}, which is not for agents", hint="choose another", code="UPM-E121")
    if not real.exists() and dry_run:
        return str(real), ()
    if real.exists() and not real.is_dir():
        raise UsageError(f"{path} is not a folder", hint="name another one: --path DIR", code="UPM-E121")
    fsio.make_folder(real)
    with fsio.telling(real, "look at"), Folder.open(real) as folder:
        refuse_unsafe(folder, others=_OTHERS)
        mode = folder.stat().st_mode
    refuse_unsafe_way(real, others=_OTHERS)
    group = "its group may write it: whoever is in it could " + _OTHERS
    return str(real), (group,) if mode & stat.S_IWGRP else ()


def check_secret(path: Path, what: str) -> Path:
    """Return the absolute path of a file that holds a token or a CA certificate.

    Raises UsageError when it can't be read or is empty, and IntegrityError when others may read the token.
    """
    found = path.absolute()
    option = f"--{what.replace('_', '-')}"
    try:
        about = found.stat()
        with found.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as exc:
        raise UsageError(f"{option} {path}: {exc.strerror}", hint="name a file you may read", code="UPM-E121") from exc
    if is_empty or not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{option} {path} is empty, or no file", hint="put the token into it", code="UPM-E121")
    if what == "token_file" and about.st_mode & 0o077:
        raise IntegrityError(
            f"{option} {path} can be read by others (mode {stat.S_IMODE(about.st_mode):04o})",
            hint=f"chmod 600 {path}",
            code="UPM-E123",
        )
    return found

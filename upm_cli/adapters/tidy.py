"""Removing models that no pointer of a directory names any more, and what killed processes left."""

import contextlib
from typing import Final

from upm_cli.adapters.directory import pointer_in
from upm_cli.core.delivery import envelope, places
from upm_cli.store import fsio
from upm_cli.store.folders import Folder

GRACE_MS: Final = 3_600_000  # whoever read a pointer a moment ago may still want its model


def remove_old(here: Folder, now_ms: int) -> int:
    """Remove what is old and named by no pointer, neither a newest nor a previous one; return how many files.

    Best effort: where a pointer can't be read nothing is removed, as it may name anything.
    """
    with contextlib.suppress(OSError):
        named = _named(here, now_ms)
        if named is not None:
            with here.below(places.MODELS) as models:
                return sum(_remove(models, name, now_ms) for name in models.names() if name not in named)
    return 0


def _named(here: Folder, now_ms: int) -> set[str] | None:
    """Return the file names of all models that pointers name; None when one can't be read."""
    named: set[str] = set()
    with here.below(places.POINTERS) as pointers:
        for trainer in pointers.names():
            with pointers.below(trainer) as folder:
                for name in folder.names():
                    if name.endswith(fsio.TEMP_SUFFIX):
                        _remove(folder, name, now_ms)
                        continue
                    raw = folder.read(name, envelope.MAX_ENVELOPE_BYTES)
                    found = None if raw is None else pointer_in(raw)
                    if found is None:
                        return None
                    named.add(places.model(found.digest, found.model.codec).partition("/")[2])
    return named


def _remove(folder: Folder, name: str, now_ms: int) -> bool:
    with folder.file(name) as (_, found):
        is_old = now_ms - found.st_mtime_ns // 1_000_000 >= GRACE_MS
    return is_old and folder.drop(name)

"""Settings for a process that stays up: read again when their file has changed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from upm_cli.config.load import load
from upm_cli.config.schema import Settings


def reloading(path: Path, *, overrides: Sequence[str], environ: Mapping[str, str]) -> Callable[[], Settings]:
    """Return a function that gives the settings in force now; it raises what `load` does while the file is not valid.

    Variables and overrides stay what they were at the start.
    """
    known: tuple[tuple[int, int, int], Settings] | None = None

    def current() -> Settings:
        nonlocal known
        found = path.stat() if path.is_file() else None
        identity = (found.st_ino, found.st_mtime_ns, found.st_size) if found else (0, 0, 0)
        if known is None or known[0] != identity:
            known = None
            known = identity, load(path, overrides=overrides, environ=environ).settings
        return known[1]

    return current

"""`--source` → the files it stands for, each found again by what it is, whatever its name is by now."""

import contextlib
import hashlib
import io
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from upm_cli.core.records import SourcePosition
from upm_cli.errors import InvalidError, NotFoundError, StorageError, UsageError
from upm_cli.nearest import did_you_mean
from upm_cli.sources.base import FORMATS, Source, storable
from upm_cli.sources.identity import find_known, identify, new_key
from upm_cli.sources.lines import LinesSource, is_packed, peek, unreadable
from upm_cli.sources.pipe import PipeSource

_FORMAT_OF: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_MOST_NAMES: Final = 2000  # of a folder, that are looked at for a guess
_PARQUET: Final = b"PAR1"
_PACKED: Final = re.compile(r"\.(?:gz|zst)$")
_ROTATED: Final = re.compile(r"[.-](\d+(?:-\d+)*)$")


def open_sources(
    spec: str,
    format: str = "auto",
    *,
    stream: str = "",
    known: Sequence[SourcePosition] = (),
    stdin: IO[bytes] | None = None,
    missing_ok: bool = False,
    await_writer: bool = True,
) -> list[Source]:
    """Return the sources that `spec` names: a file, a folder, a glob, or "-" for standard input.

    `known` are the positions of this stream: a file that was met before keeps its key under any name, and a file of
    `spec` that was renamed within its folder is returned before the one that took its place. Older rotated files come
    first. A named pipe is opened when somebody writes to it, or with `await_writer` off at once: whoever polls must not
    be held up by one. Raises NotFoundError when there is nothing (unless `missing_ok`), InvalidError for what can't be
    windows.
    """
    if format not in FORMATS:
        raise UsageError(f"{format!r} is not a format", hint=f"use one of {', '.join(FORMATS)}", code="UPM-E029")
    if spec == "-":
        return [PipeSource(stdin or sys.stdin.buffer, "-", stream, "jsonl" if format == "auto" else format)]
    sources: dict[str, Source] = {}
    for path in _paths(spec, known, missing_ok=missing_ok):
        try:
            status = path.stat()
            source: Source
            if stat.S_ISREG(status.st_mode):
                source = _open_file(path, format, stream, known)
            else:
                pipe = io.BufferedReader(io.FileIO(path, opener=None if await_writer else _open_at_once))
                source = PipeSource(pipe, str(path), stream, "jsonl" if format == "auto" else format)
            sources.setdefault(source.key, source)
        except FileNotFoundError:
            continue  # renamed or removed since it was listed: it is found under its new name next time
        except OSError as exc:
            raise unreadable(str(path), exc) from exc
    return list(sources.values())


def footprint(specs: Sequence[str]) -> str:
    """Return a short text that is another one as soon as a file of `specs` came, went, grew or was replaced.

    Nothing is opened. What a pipe holds does not show.
    """
    seen = hashlib.sha256()
    for spec in specs:
        try:
            paths = [] if spec == "-" else _paths(spec, (), missing_ok=True)
        except StorageError:
            continue  # whoever opens it says so
        for path in paths:
            with contextlib.suppress(OSError):
                found = path.stat()
                size = found.st_size if stat.S_ISREG(found.st_mode) else 0
                seen.update(f"{path}\0{found.st_ino}\0{size}\n".encode(errors="surrogateescape"))
    return seen.hexdigest()[:16]


def format_of(name: str) -> str | None:
    """Return the format a file name stands for, below any .gz, .zst and rotation number; None if it is unknown."""
    stem = _ROTATED.sub("", _PACKED.sub("", name))
    return _FORMAT_OF.get(Path(_PACKED.sub("", stem)).suffix.lower())


def rotation_order(path: Path) -> tuple[str, int, int, str]:
    """Sort key that puts app.jsonl.2 before app.jsonl.1 before app.jsonl, and dated files by date."""
    stem = _PACKED.sub("", str(path))
    match = _ROTATED.search(stem)
    if match is None:
        return stem, 1, 0, ""
    number = match.group(1)
    return stem[: match.start()], 0, -int(number) if len(number) < 4 else 0, number


def _paths(spec: str, known: Sequence[SourcePosition], *, missing_ok: bool) -> list[Path]:
    path = Path(spec)
    if has_magic(spec) and not path.exists():
        found = [Path(name) for name in glob(spec, recursive=True) if not Path(name).is_dir()]  # noqa: PTH207
    elif path.is_dir():
        try:
            found = [entry for entry in path.iterdir() if format_of(entry.name) and entry.name[0] not in "._"]
        except OSError as exc:
            raise unreadable(spec, exc) from exc
    else:
        found = [*_moved_away(path, known), *([path] if path.exists() else [])]
        if not found and not missing_ok:
            raise NotFoundError(
                f"there is no file {spec}",
                hint=_near(path) + "a source is a file, a folder, a glob, or - for standard input",
                code="UPM-E045",
            )
        return found
    if not found and not missing_ok:
        raise NotFoundError(
            f"{spec} holds no file to read",
            hint=f"files of a folder are taken by their ending: {', '.join(_FORMAT_OF)}; also .gz and .zst",
            code="UPM-E045",
        )
    return sorted(found, key=rotation_order)


def _near(path: Path) -> str:
    """Return a question for the file beside `path` that may be meant, or where it was looked for."""
    folder = path.parent
    try:
        guess = did_you_mean(path.name, [entry.name for entry in islice(folder.iterdir(), _MOST_NAMES)])
    except OSError:
        return f"there is no folder {folder} either; " if not folder.is_dir() else ""
    return f"{guess} " if guess else ""


def _moved_away(path: Path, known: Sequence[SourcePosition]) -> Iterator[Path]:
    """Yield files beside `path` that were read under its name and renamed since."""
    inodes = {position.meta.get("inode") for position in known if position.path == storable(str(path))}
    if not inodes or not path.parent.is_dir():
        return
    if path.exists():
        inodes.discard(path.stat().st_ino)
    if inodes:
        with os.scandir(path.parent) as entries:
            yield from sorted(
                (Path(e.path) for e in entries if e.is_file() and e.inode() in inodes), key=rotation_order
            )


def _open_file(path: Path, format: str, stream: str, known: Sequence[SourcePosition]) -> Source:
    found = find_known(path, known)
    chosen = _content_format(path, format)
    meta: Mapping[str, Any]
    if found is None:
        identity = identify(path)
        key, meta = new_key(identity, known), {**identity.meta(), "packed": is_packed(path), "format": chosen}
    else:
        key, meta = found.key, found.meta
    if chosen == "parquet":
        from upm_cli.sources.parquet import ParquetSource  # takes a tenth of a second, and few need it

        return ParquetSource(key, str(path), stream, meta)
    return LinesSource(key, str(path), stream, chosen, meta)


def _open_at_once(path: str, flags: int) -> int:
    """Open a pipe without waiting for its other end; reading from it waits as usual."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _content_format(path: Path, format: str) -> str:
    """Return what `path` holds, by `format`, its name and its first bytes. Raises InvalidError for what it can't be."""
    with path.open("rb") as file:
        magic = file.read(len(_PARQUET))
    chosen = (format_of(path.name) or ("parquet" if magic == _PARQUET else "jsonl")) if format == "auto" else format
    if chosen == "parquet" and magic != _PARQUET:
        raise InvalidError(f"{path} is not a Parquet file", hint="name its format with --format", code="UPM-E035")
    if chosen != "parquet" and magic == _PARQUET:
        raise InvalidError(
            f"{path} is a Parquet file, not lines of text",
            hint="leave --format out; prediction logs of agents, with outcomes, are lines of JSON",
            code="UPM-E035",
        )
    if chosen != "parquet" and b"\0" in peek(path):
        raise InvalidError(
            f"{path} is binary (or UTF-16), not lines of UTF-8 text",
            hint=f"formats are {', '.join(FORMATS[1:])}; lines may be packed with gzip or zstd",
            code="UPM-E035",
        )
    return chosen

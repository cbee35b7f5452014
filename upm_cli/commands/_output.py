"""The only writer of stdout: the same fields as a table, JSON, JSON lines or TSV."""

import json
import math
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from upm_cli.commands._context import Context
from upm_cli.commands._text import cell, visible
from upm_cli.errors import UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `key` into each row; the rest is for the table people see.

    Where the terminal has too little room, columns are left out, those with the highest `spare` first; 0: never.
    """

    key: str
    title: str = ""
    right: bool = False
    show: Callable[[Any], str] | None = None
    spare: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of an answer. `key` is where they are in the payload; `empty` is said when there are none."""

    key: str
    columns: Sequence[Column]
    title: str = ""
    empty: str = ""


def decimals(value: float | None) -> str:
    """Return a measured number as tables have it; nothing where there is none."""
    return "" if value is None else f"{value:.4f}"


def emit(ctx: Context, payload: Mapping[str, Any], table: Table | None = None, *, text: str | None = None) -> None:
    """Print the answer of a command in the chosen format.

    `payload` is the JSON object (it gets `schema_version`). With a `table`, `payload[table.key]` are its rows: the
    lines of jsonl and tsv. Without one, jsonl is the object on one line and tsv its keys and values. `text` is what
    people see instead of a table of keys and values.
    """
    data = plain(payload)
    if ctx.output == "table":
        _show(ctx, data, table, text)
    elif ctx.output == "json":
        write(_json(_objects(ctx, data, table), pretty=sys.stdout.isatty()) + "\n")
    elif ctx.output == "jsonl":
        for line in _rows(ctx, data, table) or []:
            write(_json(line) + "\n")
    else:
        _tsv(ctx, data, table)


def emit_document(ctx: Context, payload: Mapping[str, Any], text: str) -> None:
    """Print an answer that is a text to be read or piped on: as it is, unless a format was asked for."""
    if ctx.output_asked:
        emit(ctx, payload, text=text)
    else:
        write(text + "\n")


def emit_line(ctx: Context, item: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Print one item of a stream (`-f`): one JSON line, or one TSV line without header."""
    data = plain(item)
    if ctx.output in ("json", "jsonl"):
        write(_json(data) + "\n")
    else:
        write("\t".join(cell(_word(data.get(key))) for key in columns) + "\n")
    flush()


def write(text: str) -> None:
    """Write `text` to stdout as it is. Raises StorageError when stdout is a file on a full disk, or the like."""
    with _telling():
        sys.stdout.write(text)


def flush() -> None:
    """Hand what was written to the operating system. Raises StorageError like `write`."""
    with _telling():
        sys.stdout.flush()


def check_reader() -> None:
    """Raise BrokenPipeError when whoever read our pipe has left; only a write would tell otherwise."""
    try:
        out = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file, as in a test
        return
    left = select.poll()
    left.register(out, 0)  # of errors poll tells without being asked
    if any(event & select.POLLERR for _, event in left.poll(0)):
        raise BrokenPipeError


def let_go() -> None:
    """Send what is still to be written nowhere, so that the interpreter's own last flush is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        from upm_cli.store.fsio import storage_error

        let_go()
        raise storage_error(exc, Path("/dev/stdout"), "write to") from exc


def plain(value: Any) -> Any:
    """Return `value` as what JSON knows; numbers that JSON can't hold become null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    for method in ("tolist", "isoformat", "__fspath__"):  # NumPy, datetime, Path
        if hasattr(value, method):
            return plain(getattr(value, method)())
    raise TypeError(f"{type(value).__name__} can't be printed as JSON")


def _json(data: Any, *, pretty: bool = False) -> str:
    return json.dumps(data, indent=2 if pretty else None, allow_nan=False)


def _objects(ctx: Context, data: dict[str, Any], table: Table | None) -> dict[str, Any]:
    """Return the JSON object, cut down to --fields: of the rows if there are rows, else of the object."""
    if table is not None and ctx.globals.fields is not None:
        data = {**data, table.key: _rows(ctx, data, table)}
    elif ctx.globals.fields is not None:
        data = _pick(ctx, data)
    return {"schema_version": SCHEMA_VERSION, **data}


def _rows(ctx: Context, data: dict[str, Any], table: Table | None) -> list[dict[str, Any]]:
    if table is None:
        return [{"schema_version": SCHEMA_VERSION, **_pick(ctx, data)}]
    rows: list[dict[str, Any]] = data[table.key]
    known = dict.fromkeys(column.key for column in table.columns) | dict.fromkeys(key for row in rows for key in row)
    return [_pick(ctx, row, list(known)) for row in rows]


def _pick(ctx: Context, item: dict[str, Any], known: Sequence[str] | None = None) -> dict[str, Any]:
    if ctx.globals.fields is None:
        return item
    _check_fields(ctx.globals.fields, list(item) if known is None else known)
    return {name: item.get(name) for name in ctx.globals.fields}


def _check_fields(fields: Sequence[str], known: Sequence[str]) -> None:
    for name in fields:
        if name not in known:
            raise UsageError(f"no field {name!r}", hint=f"fields are {', '.join(known)}", code="UPM-E024")


def _tsv(ctx: Context, data: dict[str, Any], table: Table | None) -> None:
    if table is None:
        pairs = _flat(_pick(ctx, data))
        write("key\tvalue\n" + "".join(f"{cell(key)}\t{cell(_word(value))}\n" for key, value in pairs))
        return
    keys = [column.key for column in table.columns]
    if ctx.globals.fields is not None:
        _check_fields(ctx.globals.fields, keys + [key for row in data[table.key] for key in row])
        keys = list(ctx.globals.fields)
    write("\t".join(keys) + "\n")
    for row in data[table.key]:
        write("\t".join(cell(_word(row.get(key))) for key in keys) + "\n")


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested objects as dotted keys."""
    pairs: list[tuple[str, Any]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return pairs


def _word(value: Any) -> str:
    """Return `value` as one word: as in JSON, but text without quotes and null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _show(ctx: Context, data: dict[str, Any], table: Table | None, text: str | None) -> None:
    if text is not None:
        write(visible(text, keep="\n") + "\n")
        return
    if table is None:
        table = Table(key="rows", columns=[Column("key"), Column("value")])
        data = {"rows": [{"key": key, "value": value} for key, value in _flat(data)]}
    if not data[table.key] and table.empty:
        ctx.say.note(table.empty)
        return
    write(table_text(ctx, data, table) + "\n")


def table_text(ctx: Context, data: Mapping[str, Any], table: Table) -> str:
    """Return the table that people see, without a newline at its end; `table.empty` when it has no rows."""
    from upm_cli.commands._tables import render

    if not data[table.key] and table.empty:
        return table.empty
    lines = [_line(table.columns, row) for row in data[table.key]]
    return render(table.columns, lines, table.title, ctx.color).removesuffix("\n")


def _line(columns: Sequence[Column], row: Mapping[str, Any]) -> list[str]:
    cells = []
    for column in columns:
        value = row.get(column.key)
        shown = column.show(value) if column.show and value is not None else _word(value)
        cells.append(visible(shown))
    return cells

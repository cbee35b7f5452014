"""CSV lines → rows, by the rules of the JSON lines: a cell is the JSON scalar it looks like, and otherwise text.

One record is one line: a quoted cell can't hold a line break.
"""

import csv
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from upm_cli.core.lookalikes import REQUIRED, did_you_mean, labels_alone
from upm_cli.errors import InvalidError
from upm_cli.sources.base import Chunk
from upm_cli.sources.decode import Collected, RowColumns, collect, kept_of
from upm_cli.sources.refusal import Refusal
from upm_cli.sources.split import split_lines

NEEDED: Final = REQUIRED[:3]  # `features` may be the other columns
_OWN: Final = frozenset((*NEEDED, "tenant_id", "label", "labels"))
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_COLUMNS: Final = "window_id,window_start,window_end,[tenant_id,][label,]feature,…"
_MARKS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_BOM: Final = b"\xef\xbb\xbf"


def decode_csv(chunk: Chunk) -> tuple[Collected, int]:
    """Decode the rows of `chunk`; return them and how many there were. Raises InvalidError for a bad header."""
    header = read_header(chunk.header, chunk.source)

    def add(columns: RowColumns, line: bytes) -> None:
        columns.add_object(_event(header, _cells(line)))

    lines = split_lines(chunk.data, chunk.offset)
    return collect(lines, add, kept_of), len(lines)


def read_header(line: bytes, path: str) -> list[str]:
    """Return the column names in the first line of a CSV file. Raises InvalidError when they can't be windows."""
    try:
        header = _cells(line.removeprefix(_BOM).rstrip(b"\r\n"))
    except Refusal as refusal:
        raise InvalidError(f"{path}: the header is not CSV: {refusal}", code="UPM-E035") from refusal
    missing = [name for name in NEEDED if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing or twice:
        problem = f"has no column {', '.join(missing)}" if missing else f"has the column {twice[0]} twice"
        raise InvalidError(
            f"{path}: the CSV header {problem}",
            hint=labels_alone(header)
            or f"{_separated(header) or did_you_mean(header)} the first line names the columns: {_COLUMNS}".lstrip(),
            code="UPM-E035",
        )
    return header


def _separated(header: Sequence[str]) -> str:
    """Return what is wrong when all columns are in one cell."""
    found = next((name for mark, name in _MARKS.items() if len(header) == 1 and mark in header[0]), None)
    return f"cells are separated by commas here, not by {found};" if found else ""


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode()], strict=True), [])
    except UnicodeDecodeError as exc:
        raise Refusal("the line is not UTF-8") from exc
    except csv.Error as exc:
        raise Refusal(f"not CSV: {exc}") from exc


def _event(header: Sequence[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise Refusal(f"the line has {len(cells)} cells, the header {len(header)}")
    event: dict[str, Any] = {"features": {}}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        if name not in _OWN:
            event["features"][name] = _scalar(cell)
        elif name in ("window_start", "window_end"):
            event[name] = int(cell) if _INTEGER.fullmatch(cell) else cell
        elif name in ("label", "labels"):
            event[name] = _label(cell)
        else:
            event[name] = cell
    return event


def _scalar(cell: str) -> float | str:
    if _NUMBER.fullmatch(cell):
        return float(cell)
    if cell in ("true", "false"):
        return cell == "true"
    if _NOT_FINITE.fullmatch(cell):
        raise Refusal(f"a cell is not a finite number: {cell}")
    return cell


def _label(cell: str) -> Any:
    if not cell.startswith("{"):
        return _scalar(cell)
    try:
        return json.loads(cell)
    except ValueError as exc:
        raise Refusal(f"the label is not JSON: {exc}") from exc

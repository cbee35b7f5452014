"""GET of /feedback: the prediction log, from where the reader left off.

A position is one number: the file's number times 2**24, plus the bytes of it that were read. Files have at most 2**24.
"""

import re
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from upm_cli.agent.server.body import only_query
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.problems import ProblemError

DEFAULT_LIMIT: Final = 1000
MOST_LINES: Final = 10_000
MOST_BYTES: Final = 4 << 20
_SHIFT: Final = 24
_MASK: Final = (1 << _SHIFT) - 1


class Feedback:
    """The handler of the prediction log."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def get(self, request: Request) -> Response:
        """Send lines of the log, and the position behind them."""
        query = only_query(request, "after", "limit")
        after = _number(query.get("after", "0"), "after", 0, (1 << 62) - 1)
        limit = _number(query.get("limit", str(DEFAULT_LIMIT)), "limit", 1, MOST_LINES)
        data, next_ = await anyio.to_thread.run_sync(self._read, after, limit)
        return Response(data, 200, {"Upm-Next": str(next_)}, "application/x-ndjson")

    def _read(self, after: int, limit: int) -> tuple[bytes, int]:
        self._fleet.log.flush()
        return read_log(self._fleet.log.folder, self._fleet.name, after, limit)


def read_log(folder: Path, agent: str, after: int, limit: int, most: int = MOST_BYTES) -> tuple[bytes, int]:
    """Return at most `limit` whole lines from position `after` on, and the position behind them.

    Files that are gone are passed over. Raises OSError.
    """
    found: list[bytes] = []
    position, left = after, most
    for number, path in _files(folder, agent):
        if number < position >> _SHIFT:
            continue
        start = position & _MASK if number == position >> _SHIFT else 0
        data = _whole_lines(_read_at(path, start, left), limit)
        found.append(data)
        position = (number << _SHIFT) + start + len(data)
        limit -= data.count(b"\n")
        left -= len(data)
        if limit <= 0 or left <= 0 or _has_more(path, start + len(data)):
            break
    return b"".join(found), position


def _files(folder: Path, agent: str) -> list[tuple[int, Path]]:
    """Return the files of the log in order; the last may be one that is being written."""
    name = re.compile(rf"predictions-{re.escape(agent)}-(\d{{6,}})\.jsonl(?:\.part)?")
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    numbered = {int(match[1]): path for path in paths if (match := name.fullmatch(path.name))}
    return sorted(numbered.items())


def _read_at(path: Path, start: int, most: int) -> bytes:
    for each in (path, path.with_suffix("")):  # what was being written may have been finished since
        try:
            with each.open("rb") as file:
                file.seek(start)
                return file.read(most)
        except FileNotFoundError:
            continue
    return b""


def _has_more(path: Path, position: int) -> bool:
    """Say whether something is left in a file: then the next one has to wait."""
    try:
        return path.stat().st_size > position
    except FileNotFoundError:
        return False


def _whole_lines(data: bytes, limit: int) -> bytes:
    """Return the first `limit` lines, without one that is not finished."""
    end = data.rfind(b"\n") + 1
    if data.count(b"\n", 0, end) > limit:
        end = 0
        for _ in range(limit):
            end = data.index(b"\n", end) + 1
    return data[:end]


def _number(text: str, what: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise ProblemError("bad-request", f"{what} is a number from {least} to {most}")
    return int(text)

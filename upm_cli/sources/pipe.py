"""Standard input and other pipes: read once, from wherever they begin, never gone back to."""

import io
import os
import select
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Final

from upm_cli.core.records import SourcePosition
from upm_cli.sources.base import MAX_LINE_BYTES, Chunk, storable
from upm_cli.sources.lines import cut_lines, unreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_BYTES: Final = 1 << 20
_LOOK_EVERY_S: Final = 0.1


class Stoppable(io.RawIOBase):
    """The descriptor `fd`, which ends where it ends or where `stopped` says so: no read waits longer for its writer."""

    def __init__(self, fd: int, stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._fd, self._stopped = fd, stopped
        self._ended = False

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while not self._ended and not self._stopped():
            if select.select([self._fd], [], [], _LOOK_EVERY_S)[0]:
                size = os.readv(self._fd, [buffer])
                self._ended = not size  # a terminal would go on after its end
                return size
        return 0


class PipeSource:
    """Lines that arrive through `file`. Its offsets count from where this run began, so it has no position to keep."""

    def __init__(self, file: IO[bytes], path: str, stream: str, format: str = "jsonl") -> None:
        self.key, self.path, self.stream, self.format = f"pipe:{path}", path, stream, format
        self.ended = False
        self._file = file
        self._offset = 0
        self._rest = b""
        self._header = b""

    def chunks(self, position: SourcePosition | None, max_bytes: int, *, final: bool = True) -> Iterator[Chunk]:
        """Read what comes: all until its end when `final`, else only what has come already. `position` is not used."""
        try:
            pieces = cut_lines(self._file, max_bytes, final=True) if final else self._arrived(max_bytes)
            for data, used in pieces:
                yield from self._chunk(data, used)
            self.ended = self.ended or final
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def _chunk(self, data: bytes, used: int) -> Iterator[Chunk]:
        if self.format == "csv" and not self._header:
            end = data.find(b"\n") + 1 or len(data)
            self._header, data, used = data[:end], data[end:], used - end
            self._offset += end
        if data:
            start, self._offset = self._offset, self._offset + used
            position = SourcePosition(stream=self.stream, key=self.key, path=storable(self.path), offset=self._offset)
            yield Chunk(data, start, position, position.path, self.format, self._header)

    def _arrived(self, max_bytes: int) -> Iterator[tuple[bytes, int]]:
        descriptor = self._file.fileno()
        while not self.ended and select.select([descriptor], [], [], 0)[0]:
            block = os.read(descriptor, min(max_bytes, _READ_BYTES))
            self.ended = not block
            self._rest += block
            cut = len(self._rest) if self.ended or len(self._rest) > MAX_LINE_BYTES else self._rest.rfind(b"\n") + 1
            if cut:
                data, self._rest = self._rest[:cut], self._rest[cut:]
                yield data, len(data)

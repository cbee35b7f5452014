"""Sources that are still being written: new files appear, old ones grow, pipes deliver."""

from collections.abc import Iterator, Sequence
from typing import IO

from upm_cli.core.records import SourcePosition
from upm_cli.errors import StorageError
from upm_cli.sources.base import Chunk, Source
from upm_cli.sources.discover import open_sources
from upm_cli.sources.pipe import PipeSource


class Follow:
    """Looks at all `specs` again each time it is polled; the caller does the waiting in between.

    `ended` says that every source was a pipe and that all of them are closed.
    """

    def __init__(
        self, specs: Sequence[str], format: str = "auto", *, stream: str = "", stdin: IO[bytes] | None = None
    ) -> None:
        self._specs = list(dict.fromkeys(specs))
        self._format, self._stream, self._stdin = format, stream, stdin
        self._pipes: dict[str, PipeSource] = {}

    @property
    def ended(self) -> bool:
        return len(self._pipes) == len(self._specs) and all(pipe.ended for pipe in self._pipes.values())

    def poll(self, known: Sequence[SourcePosition], max_bytes: int) -> Iterator[Chunk]:
        """Yield what is new since the positions in `known`, complete lines only. Files may come and go."""
        positions = {position.key: position for position in known}
        for spec in self._specs:
            for source in self._open(spec, known):
                try:
                    for chunk in source.chunks(positions.get(source.key), max_bytes, final=False):
                        positions[source.key] = chunk.position
                        yield chunk
                except StorageError as exc:
                    if not isinstance(exc.__cause__, FileNotFoundError):
                        raise  # else it was renamed since it was listed: the next poll finds it

    def sources(self, known: Sequence[SourcePosition]) -> list[Source]:
        """Return the sources that there are now, pipes that ended left out."""
        found = [source for spec in self._specs for source in self._open(spec, known)]
        return [source for source in found if not (isinstance(source, PipeSource) and source.ended)]

    def _open(self, spec: str, known: Sequence[SourcePosition]) -> Sequence[Source]:
        if spec in self._pipes:
            return [self._pipes[spec]]
        sources = open_sources(spec, self._format, stream=self._stream, known=known, stdin=self._stdin, missing_ok=True)
        for source in sources:
            if isinstance(source, PipeSource):
                self._pipes[spec] = source
        return sources

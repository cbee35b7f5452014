"""What agents told, for the ingest worker: their logs, read together in the order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from upm_cli.core.feedback.names import positions_key
from upm_cli.core.records import SourcePosition
from upm_cli.errors import StorageError
from upm_cli.ops.feedback import FeedbackSession, policy_of
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.tidy import tidy_served
from upm_cli.sources.base import Source
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.feedback import FeedbackDecoder
from upm_cli.sources.feedback_merge import Merge, Round
from upm_cli.sources.follow import Follow
from upm_cli.workers.context import Worker

FORMAT: Final = "jsonl"
_LIGHT_BYTES: Final = 1 << 20  # state that may be written every second
_MOST_WEIGHT: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is read of agents, and for which trainer."""

    trainer: str
    specs: Sequence[str]


class FeedbackReader:
    """Reads what agents told into the session of a trainer's stream."""

    def __init__(self, worker: Worker, session: IngestSession, decoder: Decoder, told: Told) -> None:
        self._worker, self._specs = worker, list(dict.fromkeys(told.specs))
        self._stream = positions_key(told.trainer)
        policy = policy_of(worker.settings.feedback)
        self._session = FeedbackSession.open(worker.store, worker.clock, policy, session, told.trainer)
        self._decode = FeedbackDecoder(decoder).decode
        self._following = Follow(self._specs, FORMAT, stream=self._stream)
        self._sources: list[Source] = []

    @property
    def lines_read(self) -> int:
        """How many lines were ever read, those not committed yet included."""
        return self._session.lines_read

    @property
    def lines_committed(self) -> int:
        return self._session.row.read

    @property
    def ended(self) -> bool:
        """Whether every source was a pipe and all of them are closed."""
        return self._following.ended

    @property
    def weight(self) -> float:
        """How many times longer than usual a commit should wait, as it writes so much; 1 to 10."""
        return min(_MOST_WEIGHT, max(1.0, self._session.state_bytes / _LIGHT_BYTES))

    def tidy(self) -> None:
        """Keep the number of files of served comparisons small."""
        tidy_served(self._worker.store, self._session.row.trainer)

    def open(self, stdin: IO[bytes]) -> int:
        """Find the sources; return about how many bytes are to be read of them."""
        positions = self._session.positions()
        self._sources = [
            source
            for spec in self._specs
            for source in open_sources(spec, FORMAT, stream=self._stream, known=positions, stdin=stdin)
        ]
        known = {position.key: position for position in positions}
        return sum(bytes_left(source.path, known.get(source.key)) for source in self._sources)

    def rounds(self) -> Iterator[int]:
        """Read the sources that were opened to their present ends; yields the bytes of each piece."""
        yield from self._read(self._sources, final=True)

    def poll(self) -> Iterator[int]:
        """Read what is new; files may come and go."""
        sources = self._following.sources(self._session.positions())
        try:
            yield from self._read(sources, final=False)
        except StorageError as exc:
            if not isinstance(exc.__cause__, FileNotFoundError):
                raise  # else one was renamed since it was listed: the next poll finds it

    def _read(self, sources: Sequence[Source], *, final: bool) -> Iterator[int]:
        known = {position.key: position for position in self._session.positions()}
        chunk_bytes = self._worker.settings.ingest.chunk_bytes
        merge = Merge(sources, known, self._decode, chunk_bytes, final=final)
        for due in merge.rounds():
            self._take(due)
            yield due.size
            if self._worker.stop:
                self._take(merge.rest())
                return

    def _take(self, due: Round) -> None:
        if due.parts:
            self._session.take(due.parts, due.order)


def bytes_left(path: str, position: SourcePosition | None) -> int:
    """Return about how many bytes of a file are still to be read; 0 for what has no size."""
    file = Path(path)
    if not file.is_file():
        return 0
    return max(0, file.stat().st_size - (position.offset if position else 0))

"""Lines of several sources in the order of their times: the logs of agents tell of the same hours.

Were one log read after the other, the windows of the second would all come long after their place in the stream was
released. Each log counts as in order: a line is as late as the latest one before it in its log.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from upm_cli.core.records import SourcePosition
from upm_cli.sources.base import Chunk, Source
from upm_cli.sources.feedback import FeedbackDecoded, Line, Part, first_time_ms
from upm_cli.sources.lines import LinesSource

PEEK_BYTES: Final = 4096
LEAST_BYTES: Final = 64 << 10  # of one chunk, however many sources share the memory
BEGINNING: Final = -(1 << 62)

Place = tuple[int, int]


@dataclass(slots=True)
class Round:
    """Lines that are due: `order` names them as (part, line of the part)."""

    parts: list[Part] = field(default_factory=list)
    order: list[Place] = field(default_factory=list)
    size: int = 0  # bytes


class _Lane:
    """One source, the part of it at hand, and the times of what is left of that."""

    def __init__(self, source: Source, chunks: Iterator[Chunk], decode: Callable[[Chunk], FeedbackDecoded]) -> None:
        self.is_pipe = not isinstance(source, LinesSource)
        self._chunks, self._decode = chunks, decode
        self._chunk: Chunk | None = None
        self._decoded: FeedbackDecoded | None = None
        self._lines: list[Line] = []
        self.times: list[int] = []
        self._newest = BEGINNING

    def load(self) -> bool:
        """See that there are lines at hand, or a chunk without any; say whether there is one."""
        if self._chunk is not None:
            return True
        self._chunk = next(self._chunks, None)
        if self._chunk is None:
            return False
        self._decoded = self._decode(self._chunk)
        self._lines, self.times = self._decoded.lines, []
        for line in self._lines:
            self._newest = max(self._newest, getattr(line.item, "time_ms", BEGINNING))
            self.times.append(self._newest)
        return True

    @property
    def last_ms(self) -> int:
        return self.times[-1] if self.times else BEGINNING

    def cut(self, count: int) -> tuple[Part, list[int]]:
        """Hand out the first `count` lines at hand, with their times."""
        assert self._chunk is not None and self._decoded is not None
        position, lines, times = self._chunk.position, self._lines[:count], self.times[:count]
        part = Part(self._chunk, self._decoded, lines, position)
        self._lines, self.times = self._lines[count:], self.times[count:]
        if self._lines:
            part.position = replace(position, offset=self._lines[0].offset)
        else:
            self._chunk = None
        return part, times


class Merge:
    """Reads `sources` from where `known` left them, all of them together, up to their present ends."""

    def __init__(
        self,
        sources: Sequence[Source],
        known: dict[str, SourcePosition],
        decode: Callable[[Chunk], FeedbackDecoded],
        chunk_bytes: int,
        *,
        final: bool,
    ) -> None:
        size = max(min(LEAST_BYTES, chunk_bytes), chunk_bytes // max(1, len(sources)))
        begins = [(_first_ms(source, known.get(source.key), final=final), n) for n, source in enumerate(sources)]
        self._ahead = [
            (first_ms, _Lane(sources[n], sources[n].chunks(known.get(sources[n].key), size, final=final), decode))
            for first_ms, n in sorted(begins)
        ]
        self._lanes: list[_Lane] = []

    def rounds(self) -> Iterator[Round]:
        """Yield what is due, until nothing is left."""
        while True:
            self._lanes = [lane for lane in self._lanes if lane.load()]
            bound = min((lane.last_ms for lane in self._lanes), default=None)
            while self._ahead and (bound is None or self._ahead[0][0] <= bound):
                lane = self._ahead.pop(0)[1]
                if lane.load():
                    self._lanes.append(lane)
                    bound = lane.last_ms if bound is None else min(bound, lane.last_ms)
            if bound is None:
                return
            yield self._round(bound)

    def rest(self) -> Round:
        """Return what was read from pipes and not handed out: nobody can read it again."""
        return _joined([lane.cut(len(lane.times)) for lane in self._lanes if lane.is_pipe and lane.times])

    def _round(self, bound: int) -> Round:
        """Take every line before `bound`, and all there is of the sources that end there."""
        taken = []
        for lane in self._lanes:
            count = len(lane.times)
            if lane.last_ms > bound:
                count = next(n for n, time_ms in enumerate(lane.times) if time_ms >= bound)
            if count or not lane.times:
                taken.append(lane.cut(count))
        return _joined(taken)


def _joined(taken: Sequence[tuple[Part, list[int]]]) -> Round:
    keys = [(time_ms, p, n) for p, (_, times) in enumerate(taken) for n, time_ms in enumerate(times)]
    done = Round([part for part, _ in taken], [(p, n) for _, p, n in sorted(keys)])
    done.size = sum(line.end - line.offset for part in done.parts for line in part.lines)
    return done


def _first_ms(source: Source, position: SourcePosition | None, *, final: bool) -> int:
    """Return the time at which what is left of a source begins; of a pipe nobody knows."""
    if not isinstance(source, LinesSource):
        return BEGINNING
    chunk = next(iter(source.chunks(position, PEEK_BYTES, final=final)), None)
    first = None if chunk is None else first_time_ms(chunk.data)
    return BEGINNING if first is None else first

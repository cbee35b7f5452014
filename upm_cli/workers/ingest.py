"""The ingest worker: read sources chunk by chunk, decode, order, append to the log, commit.

Besides windows it may read what agents tell (workers/feedback.py), as only one worker can have a stream.
"""

from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import IO

from upm_cli.config.schema import ReplayBufferSettings
from upm_cli.core.records import Stream
from upm_cli.core.replay import ReplayPolicy
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.tidy import EVERY_S, sweep, tidy_stream
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.follow import Follow
from upm_cli.sources.pipe import Stoppable
from upm_cli.store import lease
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps, alone
from upm_cli.workers import interest
from upm_cli.workers.context import Worker
from upm_cli.workers.feedback import FeedbackReader, Told, bytes_left
from upm_cli.workers.job import Turn, drive

POLL_S = 0.1


def run(
    worker: Worker, stream: str, specs: Sequence[str], format: str, *, follow: bool, told: Told | None = None
) -> int:
    """Ingest until the input ends (or, when following, until asked to stop); return the exit code.

    `specs` are sources of windows, `told` is what agents told.
    """
    with lease.acquire(worker.store.home, worker.name, f"upm ingest worker of {stream}"):
        if follow:
            job = alone(worker.store, FollowJob.opening(worker, stream, specs, format, told=told))
            return drive(worker, job, lambda: False)
        intake = alone(worker.store, _Intake.opening(worker, stream, told))
        drain(intake, specs, format)
        intake.tell("stopped", force=True)
        worker.flush(force=True)
    return worker.stop.exit_code() if worker.stop else 0


def replay_policy(settings: ReplayBufferSettings) -> ReplayPolicy:
    """Return the policy that the `replay_buffer` settings describe."""
    return ReplayPolicy(
        release_delay_ms=settings.release_delay_ms,
        late_window_tolerance_ms=settings.late_window_tolerance_ms,
        max_buffer_size=settings.max_buffer_size,
    )


class _Intake:
    """What is read into one stream by one worker: decoded, put through the buffer, committed when it is due."""

    def __init__(self, worker: Worker, session: IngestSession, told: Told | None) -> None:
        self.worker, self.stream, self.session = worker, session.stream.name, session
        self.limits = worker.settings.ingest
        self.expected_bytes = 0
        self.windows = self.session.windows_read
        self._decoder = Decoder(self.session.known_names())
        self.feedback = FeedbackReader(worker, self.session, self._decoder, told) if told else None
        self._uncommitted = 0
        self._bytes = 0

    @classmethod
    def opening(cls, worker: Worker, stream: str, told: Told | None) -> "Steps[_Intake]":
        """Take the stream over, and begin."""
        policy = replay_policy(worker.settings.replay_buffer)
        session = yield from IngestSession.opening(worker.store, worker.clock, policy, stream, worker.recorder)
        return cls(worker, session, told)

    def take(self, chunk: Chunk) -> None:
        """Put one chunk through the buffer."""
        self.session.take(self._decoder.decode(chunk), chunk)
        self.count(len(chunk.data))

    def count(self, size: int) -> None:
        """Count `size` bytes that were put through the buffer."""
        self._bytes += size
        self._uncommitted += size
        self.windows = self.session.windows_read + (self.feedback.lines_read if self.feedback else 0)
        self.tell("reading")

    @property
    def is_due(self) -> bool:
        """Whether to commit now: a stream doubles with each commit until `commit_bytes` is the smaller step.

        So a short input still gets several commits, and with them snapshots to go back to, and a long one few.
        """
        read, before = self.session.windows_read, self.session.stream.read
        if self.feedback:
            read, before = read + self.feedback.lines_read, before + self.feedback.lines_committed
        return read - before >= before or self._uncommitted >= self.limits.commit_bytes

    def tidy(self) -> None:
        """Keep the number of files small."""
        tidy_stream(self.worker.store, self.stream)
        if self.feedback:
            self.feedback.tidy()

    def commit(self) -> None:
        """Make what was taken durable."""
        alone(self.worker.store, self.committing())

    def committing(self) -> Steps[None]:
        """Yield the unit of work of `commit`."""
        yield from self.session.committing()
        self._uncommitted = 0
        self.worker.flush()

    def tell(self, state: str, *, force: bool = False) -> None:
        """Write the status file; `expected` is guessed from the bytes still to be read."""
        read = self._bytes
        expected = round(self.windows * self.expected_bytes / read) if read and self.expected_bytes else None
        self.worker.tell(
            state, self.windows, force=force, stream=self.stream, expected=expected, buffer=self.session.pending
        )


def drain(intake: _Intake, specs: Sequence[str], format: str) -> None:
    """Read every source to its present end; then the input is complete."""
    worker, session = intake.worker, intake.session
    stdin = BufferedReader(Stoppable(0, lambda: bool(worker.stop)))
    _drain_windows(intake, specs, format, stdin)
    if intake.feedback and not worker.stop:
        intake.expected_bytes += intake.feedback.open(stdin)
        for size in intake.feedback.rounds():
            intake.count(size)
            if intake.is_due:
                intake.commit()
    if not worker.stop:
        session.end_input()
    intake.commit()
    intake.tidy()
    sweep(worker.store)


def _drain_windows(intake: _Intake, specs: Sequence[str], format: str, stdin: IO[bytes]) -> None:
    worker, session = intake.worker, intake.session
    sources = [
        source
        for spec in dict.fromkeys(specs)
        for source in open_sources(spec, format, stream=intake.stream, known=session.positions(), stdin=stdin)
    ]
    known = {position.key: position for position in session.positions()}
    intake.expected_bytes = sum(bytes_left(source.path, known.get(source.key)) for source in sources)
    for source in sources:
        for chunk in source.chunks(known.get(source.key), intake.limits.chunk_bytes, final=True):
            intake.take(chunk)
            if intake.is_due:
                intake.commit()
            if worker.stop:
                return


class FollowJob:
    """Follows sources: commits at its worker's pace, releases what waits when nothing comes any more.

    A turn is one chunk. As long as the files look as they did when all of them had been read, nothing is opened.
    """

    poll_s = doze_s = POLL_S

    def __init__(
        self,
        worker: Worker,
        intake: _Intake,
        specs: Sequence[str],
        format: str,
        *,
        told: Told | None = None,
        sweeps: bool = True,
    ) -> None:
        self._worker, self._intake, self._specs, self._sweeps = worker, intake, tuple(specs), sweeps
        self._told_specs = tuple(told.specs) if told else ()
        self._following = Follow(specs, format, stream=intake.stream)
        self._chunks: Iterator[Chunk] | None = None
        self._sizes: Iterator[int] | None = None  # of what agents told, as it is read
        self._told_read: object = None
        self._reading: object = None  # what the files looked like when this round of reading began
        self._read: object = None  # and when the last round had found all of it
        self._committed_s = self._arrived_s = self._tidied_s = worker.clock.monotonic_s()
        self._tidied: Stream | None = None  # as it was when files were merged last

    @classmethod
    def opening(
        cls,
        worker: Worker,
        stream: str,
        specs: Sequence[str],
        format: str,
        *,
        told: Told | None = None,
        sweeps: bool = True,
    ) -> "Steps[FollowJob]":
        """Take the stream over, and begin."""
        intake = yield from _Intake.opening(worker, stream, told)
        return cls(worker, intake, specs, format, told=told, sweeps=sweeps)

    @property
    def progress(self) -> object:
        return [self._intake.windows, self._intake.session.stream.next_seq, str(self._read)]

    def interest(self, _positions: Positions) -> object:
        return interest.of_ingest((*self._specs, *self._told_specs))

    def turn(self, *, finish: bool) -> Steps[Turn]:
        chunk = self._next_chunk()
        if chunk is not None:
            self._intake.take(chunk)
            self._arrived_s = self._worker.clock.monotonic_s()
            if self._intake.is_due:
                yield from self._committing()
            return Turn.MOVED
        if (yield from self._take_told()):
            return Turn.MOVED
        yield from self._settle(finish=finish)
        feedback = self._intake.feedback
        if self._following.ended and (feedback is None or feedback.ended):
            self._intake.session.end_input()
            yield from self._committing()
            return Turn.DONE
        return Turn.DONE if finish else Turn.IDLE

    def closing(self) -> Steps[None]:
        yield from self._intake.committing()
        self._intake.tell("stopped", force=True)
        self._worker.flush(force=True)

    def _next_chunk(self) -> Chunk | None:
        """Return what comes next, or None at the end of a round."""
        if self._chunks is None:
            self._reading = interest.of_ingest(self._specs)
            if self._reading == self._read and not self._following.has_pipes:
                return None
            known, most = self._intake.session.positions(), self._intake.limits.chunk_bytes
            self._chunks = self._following.poll(known, most)
        chunk = next(self._chunks, None)
        if chunk is None:
            self._chunks, self._read = None, self._reading
        return chunk

    def _take_told(self) -> Steps[bool]:
        """Take a piece of what agents told; say whether there was one."""
        feedback = self._intake.feedback
        if feedback is None:
            return False
        if self._sizes is None:
            seen = interest.of_ingest(self._told_specs)
            if seen == self._told_read and not feedback.has_pipes:
                return False
            self._told_read, self._sizes = seen, feedback.poll()
        size = next(self._sizes, None)
        if size is None:
            self._sizes = None
            return False
        self._intake.count(size)
        self._arrived_s = self._worker.clock.monotonic_s()
        if self._intake.is_due:
            yield from self._committing()
        return True

    @property
    def _pace_s(self) -> float:
        """How long a commit may wait: longer where much that waits for outcomes is written with each of them."""
        pace_s = self._worker.pace.commit_s
        return pace_s if self._intake.feedback is None else pace_s * self._intake.feedback.weight

    def _settle(self, *, finish: bool) -> Steps[None]:
        """Do what is due when all that is there has been read."""
        session, now_s = self._intake.session, self._worker.clock.monotonic_s()
        if session.pending and not session.dirty:
            session.release_idle(int((now_s - self._arrived_s) * 1000))
        if session.dirty and (finish or now_s - self._committed_s >= self._pace_s):
            yield from self._committing()
        if now_s - self._tidied_s >= EVERY_S:
            if self._tidied != session.stream:
                self._intake.tidy()
                self._tidied = session.stream
            if self._sweeps:
                sweep(self._worker.store)
            self._tidied_s = now_s
        self._intake.tell("following")

    def _committing(self) -> Steps[None]:
        yield from self._intake.committing()
        self._committed_s = self._worker.clock.monotonic_s()

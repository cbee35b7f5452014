"""The ingest worker: read sources chunk by chunk, decode, order, append to the log, commit.

Besides windows it may read what agents tell (workers/feedback.py), as only one worker can have a stream.
"""

from collections.abc import Iterable, Sequence
from io import BufferedReader
from typing import IO

from upm_cli.config.schema import ReplayBufferSettings
from upm_cli.core.replay import ReplayPolicy
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.tidy import EVERY_S, tidy_stream
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.follow import Follow
from upm_cli.sources.pipe import Stoppable
from upm_cli.store import lease
from upm_cli.workers.context import Worker
from upm_cli.workers.feedback import FeedbackReader, Told, bytes_left

LIVE_COMMIT_S = 1.0  # when following, commit at least this often
POLL_S = 0.1


def run(
    worker: Worker, stream: str, specs: Sequence[str], format: str, *, follow: bool, told: Told | None = None
) -> int:
    """Ingest until the input ends (or, when following, until asked to stop); return the exit code.

    `specs` are sources of windows, `told` is what agents told.
    """
    with lease.acquire(worker.store.home, worker.name, f"upm ingest worker of {stream}"):
        policy = replay_policy(worker.settings.replay_buffer)
        session = IngestSession.open(worker.store, worker.clock, policy, stream, worker.recorder)
        loop = _Loop(worker, session, stream, told)
        if follow:
            loop.follow(specs, format)
        else:
            loop.drain(specs, format)
        loop.tell("stopped", force=True)
        worker.flush(force=True)
    return worker.stop.exit_code() if worker.stop else 0


def replay_policy(settings: ReplayBufferSettings) -> ReplayPolicy:
    """Return the policy that the `replay_buffer` settings describe."""
    return ReplayPolicy(
        release_delay_ms=settings.release_delay_ms,
        late_window_tolerance_ms=settings.late_window_tolerance_ms,
        max_buffer_size=settings.max_buffer_size,
    )


class _Loop:
    """One run of an ingest worker."""

    def __init__(self, worker: Worker, session: IngestSession, stream: str, told: Told | None) -> None:
        self._worker, self._session, self._stream = worker, session, stream
        self._limits = worker.settings.ingest
        self._decoder = Decoder(session.known_names())
        self._feedback = FeedbackReader(worker, session, self._decoder, told) if told else None
        self._uncommitted = 0
        self._windows = 0
        self._bytes = 0
        self._expected_bytes = 0

    def drain(self, specs: Sequence[str], format: str) -> None:
        """Read every source to its present end; then the input is complete."""
        stdin = BufferedReader(Stoppable(0, lambda: bool(self._worker.stop)))
        self._drain_windows(specs, format, stdin)
        if self._feedback and not self._worker.stop:
            self._expected_bytes += self._feedback.open(stdin)
            self._take(self._feedback.rounds())
        if not self._worker.stop:
            self._session.end_input()
        self._commit()
        self._tidy()

    def _drain_windows(self, specs: Sequence[str], format: str, stdin: IO[bytes]) -> None:
        sources = [
            source
            for spec in dict.fromkeys(specs)
            for source in open_sources(spec, format, stream=self._stream, known=self._session.positions(), stdin=stdin)
        ]
        known = {position.key: position for position in self._session.positions()}
        self._expected_bytes = sum(bytes_left(source.path, known.get(source.key)) for source in sources)
        for source in sources:
            for chunk in source.chunks(known.get(source.key), self._limits.chunk_bytes, final=True):
                self._session.take(self._decoder.decode(chunk), chunk)
                self._count(len(chunk.data))
                if self._is_due:
                    self._commit()
                if self._worker.stop:
                    return

    def _take(self, sizes: Iterable[int]) -> bool:
        """Go through what comes in pieces of so many bytes, and commit where that is due; say whether any came."""
        came = False
        for size in sizes:
            came = True
            self._count(size)
            if self._is_due:
                self._commit()
        return came

    def follow(self, specs: Sequence[str], format: str) -> None:
        """Read what comes, commit at least every second, release what waits when nothing comes any more."""
        clock = self._worker.clock
        following = Follow(specs, format, stream=self._stream)
        committed_s = arrived_s = tidied_s = clock.monotonic_s()
        while not self._worker.stop and not self._ended(following):
            for chunk in following.poll(self._session.positions(), self._limits.chunk_bytes):
                self._session.take(self._decoder.decode(chunk), chunk)
                arrived_s = clock.monotonic_s()
                self._count(len(chunk.data))
                if self._is_due:
                    self._commit()
                    committed_s = arrived_s
                if self._worker.stop:
                    break
            if self._feedback and not self._worker.stop and self._take(self._feedback.poll()):
                arrived_s = clock.monotonic_s()
            now_s = clock.monotonic_s()
            if self._session.pending and not self._session.dirty:
                self._session.release_idle(int((now_s - arrived_s) * 1000))
            if self._session.dirty and now_s - committed_s >= self._live_commit_s:
                self._commit()
                committed_s = now_s
            if now_s - tidied_s >= EVERY_S:
                self._tidy()
                tidied_s = now_s
            self.tell("following")
            clock.sleep(POLL_S)
        if self._ended(following) and not self._worker.stop:
            self._session.end_input()
        self._commit()

    def _tidy(self) -> None:
        tidy_stream(self._worker.store, self._stream)
        if self._feedback:
            self._feedback.tidy()

    def _ended(self, following: Follow) -> bool:
        return following.ended and (self._feedback is None or self._feedback.ended)

    @property
    def _live_commit_s(self) -> float:
        """How long a commit may wait: longer where much that waits for outcomes is written with each of them."""
        return LIVE_COMMIT_S if self._feedback is None else LIVE_COMMIT_S * self._feedback.weight

    def tell(self, state: str, *, force: bool = False) -> None:
        """Write the status file; `expected` is guessed from the bytes still to be read."""
        read = self._bytes
        expected = round(self._windows * self._expected_bytes / read) if read and self._expected_bytes else None
        self._worker.tell(
            state, self._windows, force=force, stream=self._stream, expected=expected, buffer=self._session.pending
        )

    @property
    def _is_due(self) -> bool:
        """Whether to commit now: a stream doubles with each commit until `commit_bytes` is the smaller step.

        So a short input still gets several commits, and with them snapshots to go back to, and a long one few.
        """
        read, before = self._session.windows_read, self._session.stream.read
        if self._feedback:
            read, before = read + self._feedback.lines_read, before + self._feedback.lines_committed
        return read - before >= before or self._uncommitted >= self._limits.commit_bytes

    def _count(self, size: int) -> None:
        self._bytes += size
        self._uncommitted += size
        self._windows = self._session.windows_read + (self._feedback.lines_read if self._feedback else 0)
        self.tell("reading")

    def _commit(self) -> None:
        self._session.commit()
        self._uncommitted = 0
        self._worker.flush()

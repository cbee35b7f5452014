"""The ingest worker: read sources chunk by chunk, decode, order, append to the log, commit."""

from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

from upm_cli.config.schema import ReplayBufferSettings
from upm_cli.core.records import SourcePosition
from upm_cli.core.replay import ReplayPolicy
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.tidy import EVERY_S, tidy_stream
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.follow import Follow
from upm_cli.sources.pipe import Stoppable
from upm_cli.store import lease
from upm_cli.workers.context import Worker

LIVE_COMMIT_S = 1.0  # when following, commit at least this often
POLL_S = 0.1


def run(worker: Worker, stream: str, specs: Sequence[str], format: str, *, follow: bool) -> int:
    """Ingest until the input ends (or, when following, until asked to stop); return the exit code."""
    with lease.acquire(worker.store.home, worker.name, f"upm ingest worker of {stream}"):
        policy = replay_policy(worker.settings.replay_buffer)
        session = IngestSession.open(worker.store, worker.clock, policy, stream, worker.recorder)
        loop = _Loop(worker, session, stream)
        if follow:
            loop.follow(Follow(specs, format, stream=stream))
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

    def __init__(self, worker: Worker, session: IngestSession, stream: str) -> None:
        self._worker, self._session, self._stream = worker, session, stream
        self._limits = worker.settings.ingest
        self._decoder = Decoder(session.known_names())
        self._uncommitted = 0
        self._windows = 0
        self._bytes = 0
        self._expected_bytes = 0

    def drain(self, specs: Sequence[str], format: str) -> None:
        """Read every source to its present end; then the input is complete."""
        stdin = BufferedReader(Stoppable(0, lambda: bool(self._worker.stop)))
        sources = [
            source
            for spec in dict.fromkeys(specs)
            for source in open_sources(spec, format, stream=self._stream, known=self._session.positions(), stdin=stdin)
        ]
        known = {position.key: position for position in self._session.positions()}
        self._expected_bytes = sum(_left(source.path, known.get(source.key)) for source in sources)
        for source in sources:
            for chunk in source.chunks(known.get(source.key), self._limits.chunk_bytes, final=True):
                self._session.take(self._decoder.decode(chunk), chunk)
                self._count(len(chunk.data))
                if self._is_due:
                    self._commit()
                if self._worker.stop:
                    self._commit()
                    return
        if not self._worker.stop:
            self._session.end_input()
        self._commit()
        tidy_stream(self._worker.store, self._stream)

    def follow(self, following: Follow) -> None:
        """Read what comes, commit at least every second, release what waits when nothing comes any more."""
        clock = self._worker.clock
        committed_s = arrived_s = tidied_s = clock.monotonic_s()
        while not self._worker.stop and not following.ended:
            for chunk in following.poll(self._session.positions(), self._limits.chunk_bytes):
                self._session.take(self._decoder.decode(chunk), chunk)
                arrived_s = clock.monotonic_s()
                self._count(len(chunk.data))
                if self._is_due:
                    self._commit()
                    committed_s = arrived_s
                if self._worker.stop:
                    break
            now_s = clock.monotonic_s()
            if self._session.pending and not self._session.dirty:
                self._session.release_idle(int((now_s - arrived_s) * 1000))
            if self._session.dirty and now_s - committed_s >= LIVE_COMMIT_S:
                self._commit()
                committed_s = now_s
            if now_s - tidied_s >= EVERY_S:
                tidy_stream(self._worker.store, self._stream)
                tidied_s = now_s
            self.tell("following")
            clock.sleep(POLL_S)
        if following.ended and not self._worker.stop:
            self._session.end_input()
        self._commit()

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
        before = self._session.stream.read
        return self._session.windows_read - before >= before or self._uncommitted >= self._limits.commit_bytes

    def _count(self, size: int) -> None:
        self._bytes += size
        self._uncommitted += size
        self._windows = self._session.windows_read
        self.tell("reading")

    def _commit(self) -> None:
        self._session.commit()
        self._uncommitted = 0
        self._worker.flush()


def _left(path: str, position: SourcePosition | None) -> int:
    """Return about how many bytes of a file are still to be read; 0 for what has no size."""
    file = Path(path)
    if not file.is_file():
        return 0
    return max(0, file.stat().st_size - (position.offset if position else 0))

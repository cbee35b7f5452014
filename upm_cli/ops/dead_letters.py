"""Dead letters: what could not be learned from, listed, and fed in again once the cause is gone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.feedback.join import JoinPolicy
from upm_cli.core.records import SourcePosition
from upm_cli.core.replay import ReplayPolicy
from upm_cli.core.window import WindowBatch
from upm_cli.errors import NotFoundError
from upm_cli.ops import feedback_rows
from upm_cli.ops.dead_rows import ORPHAN, DeadLetter, late_batch
from upm_cli.ops.feedback import FeedbackSession
from upm_cli.ops.ingest import IngestSession
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.feedback import FeedbackDecoder, Part
from upm_cli.store import lease, rejects, segments, streams
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What became of dead letters that were fed in again: `tried = ingested + left`.

    Ingested means decoded and handed to the replay buffer; they may have turned out duplicate or late there.
    """

    tried: int = 0
    ingested: int = 0
    left: int = 0


def find(store: "Store", stream: str, *, limit: int | None = None) -> list[DeadLetter]:
    """Return the dead letters of `stream`, oldest first. Raises NotFoundError for an unknown stream."""
    return [DeadLetter.of(row) for row in islice(_rows(store, stream, "dead"), limit)]


def late_windows(store: "Store", stream: str, *, limit: int | None = None) -> list[Mapping[str, Any]]:
    """Return the windows that came too late, oldest first, as rows of the late ledger."""
    return list(islice(_rows(store, stream, "late"), limit))


def retry(
    store: "Store",
    clock: Clock,
    policy: ReplayPolicy,
    stream: str,
    recorder: Recorder | None = None,
    join: JoinPolicy | None = None,
) -> Retried:
    """Decode all dead letters of `stream` again and feed what can be read now into the replay buffer.

    Lines of agents are joined again, by `join`.

    They come as new arrivals: what is beyond the tolerance by now goes to the late ledger. One file of dead letters is
    one commit, so a crash in between loses and repeats nothing. Raises NotFoundError for an unknown stream, BusyError
    (naming the holder) while an ingest worker has the stream.
    """
    with store.read() as reader:
        _known(streams.find(reader, stream), stream)
        files = segments.list_for(reader, "dead", stream)
    if not files:
        return Retried()
    with lease.acquire(store.home, f"ingest-{stream}", f"upm events dead-letters --retry of {stream}"):
        session = IngestSession.open(store, clock, policy, stream, recorder)
        with store.read() as reader:
            files = segments.list_for(reader, "dead", stream)
        decoder = Decoder(session.known_names())
        told = _Told(store, clock, join or JoinPolicy(), session)
        total = Retried()
        for file in files:
            letters = [DeadLetter.of(row) for row in rejects.read(store.home, file)]
            left = _retry_some(session, decoder, told, letters)
            if left != letters:
                session.replace_rejects(file, [letter.row() for letter in left])
                session.commit()
            tried, gone = len(letters), len(letters) - len(left)
            total = Retried(tried=total.tried + tried, ingested=total.ingested + gone, left=total.left + len(left))
    return total


def readmit_late(
    store: "Store",
    clock: Clock,
    policy: ReplayPolicy,
    stream: str,
    recorder: Recorder | None = None,
    join: JoinPolicy | None = None,
) -> Retried:
    """Put all windows of the late ledger into the log, behind everything, and join its outcomes again by `join`.

    It is empty then, but for outcomes that still have no prediction. One file is one commit. Errors as for `retry`.
    """
    with store.read() as reader:
        _known(streams.find(reader, stream), stream)
        if not segments.list_for(reader, "late", stream):
            return Retried()
    with lease.acquire(store.home, f"ingest-{stream}", f"upm events dead-letters --late --retry of {stream}"):
        session = IngestSession.open(store, clock, policy, stream, recorder)
        with store.read() as reader:
            files = segments.list_for(reader, "late", stream)
        told = _Told(store, clock, join or JoinPolicy(), session, recall_all=True)
        tried = 0
        for file in files:
            rows = rejects.read(store.home, file)
            session.readmit(late_batch([row for row in rows if not feedback_rows.is_outcome(row)]))
            for trainer, outcomes in feedback_rows.late_outcomes(rows).items():
                told.of(trainer).readmit(outcomes)
            session.replace_rejects(file, [])
            session.commit()
            tried += len(rows)
        told.place_labels()
        session.commit()
    return Retried(tried=tried, ingested=tried)


class _Told:
    """The sessions of the feedback that a stream's dead letters and late outcomes belong to, opened when needed."""

    def __init__(
        self, store: "Store", clock: Clock, policy: JoinPolicy, session: IngestSession, *, recall_all: bool = False
    ) -> None:
        self._open = partial(FeedbackSession.open, store, clock, policy, session, recall_all=recall_all)
        self._sessions: dict[str, FeedbackSession] = {}

    def of(self, trainer: str) -> FeedbackSession:
        if trainer not in self._sessions:
            self._sessions[trainer] = self._open(trainer)
        return self._sessions[trainer]

    def place_labels(self) -> None:
        """Let labels find windows that came after them."""
        for session in self._sessions.values():
            session.place_labels()


def _retry_some(
    session: IngestSession, decoder: Decoder, told: _Told, letters: Sequence[DeadLetter]
) -> list[DeadLetter]:
    """Feed `letters` into `session`; return those that stay, with today's reason, in their order."""
    left: dict[int, DeadLetter] = {}
    pushed: list[int] = []
    batches: list[WindowBatch] = []
    lines: dict[str, list[int]] = {}
    for i, letter in enumerate(letters):
        if letter.kind == feedback_rows.KIND and letter.whole:
            lines.setdefault(letter.trainer, []).append(i)
            continue
        batch, reason = _decode(session, decoder, letter)
        if batch is None:
            left[i] = replace(letter, reason=reason)
            continue
        pushed.append(i)
        batches.append(batch)
        is_label = letter.kind == "label"
        session.retract(dead_letters=not is_label, orphans=is_label)
    done = session.push(WindowBatch.concat(batches))
    for row in done.orphan_rows.tolist():
        left[pushed[row]] = replace(letters[pushed[row]], kind="label", reason=ORPHAN)
    for trainer, numbers in lines.items():
        reasons = _retry_lines(told.of(trainer), decoder, [letters[i] for i in numbers])
        left |= {i: replace(letters[i], reason=why) for i, why in zip(numbers, reasons, strict=True) if why is not None}
    return [left[i] for i in sorted(left)]


def _retry_lines(session: FeedbackSession, decoder: Decoder, letters: Sequence[DeadLetter]) -> list[str | None]:
    """Feed lines of agents in again; return why each stays a dead letter, None: it does not."""
    chunks = [feedback_rows.chunk_of(letter) for letter in letters]
    decode = FeedbackDecoder(decoder).decode
    decoded = [decode(chunk) for chunk in chunks]
    return session.retry([Part(chunk, one, one.lines) for chunk, one in zip(chunks, decoded, strict=True)])


def _decode(session: IngestSession, decoder: Decoder, letter: DeadLetter) -> tuple[WindowBatch | None, str]:
    """Return the one row that `letter` holds, or None and why not."""
    if not letter.whole:
        return None, letter.reason
    position = SourcePosition(stream=session.stream.name, key="", path=letter.source)
    chunk = Chunk(letter.raw + b"\n", letter.offset, position, letter.source, letter.format, letter.header)
    decoded = decoder.decode(chunk)
    if len(decoded.batch) != 1:
        return None, decoded.rejects[0].reason if decoded.rejects else letter.reason
    session.tell_names(decoded)
    return decoded.batch, ""


def _rows(store: "Store", stream: str, kind: str) -> Iterator[Mapping[str, Any]]:
    with store.read() as reader:
        _known(streams.find(reader, stream), stream)
        files = segments.list_for(reader, kind, stream)
    for file in files:
        yield from rejects.read(store.home, file)


def _known(found: object, stream: str) -> None:
    if found is None:
        raise NotFoundError(f"there is no stream {stream}", hint="upm status lists what there is", code="UPM-E040")

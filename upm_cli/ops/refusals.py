"""What one run refused: looked up after it in the dead letters that came since it began."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upm_cli.core.records import Feedback, Stream, Trainer
from upm_cli.core.refused import Look, Tally
from upm_cli.errors import InvalidError
from upm_cli.ops.status import window_counts
from upm_cli.ops.training import refused_owner
from upm_cli.sources.fields import look_at
from upm_cli.store import feedback, rejects, segments, streams, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader, Store

MOST_LOOKED_AT: Final = 50_000  # dead letters of one run that are sorted by reason; all are counted
_KIND: Final = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How far the dead letters and the counts of a trainer were when a run began."""

    trainer: Trainer
    stream: Stream
    feedback: Feedback
    next_seqs: Mapping[str, int]  # number of the next dead letter, by owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a run refused: `count` records; `reasons` as `Tally` tells them, of the first `looked_at`."""

    count: int
    looked_at: int
    reasons: list[dict[str, Any]]
    nothing_used: bool  # there was something to read, and all of it was refused
    nothing_read: bool  # there was nothing new to read
    windows: Mapping[str, int]  # by how much each of `window_counts` grew
    newest_ms: int | None  # start of about the newest window of the stream, less the release delay

    def row(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"count": self.count, "looked_at": self.looked_at, "reasons": self.reasons}


def before(store: "Store", name: str) -> Before:
    """Remember where the trainer `name`, which exists, and its stream are."""
    with store.read() as reader:
        trainer = trainers.get(reader, name)
        owners = (trainer.stream, refused_owner(name))
        return Before(
            trainer=trainer,
            stream=_stream(reader, trainer),
            feedback=feedback.get(reader, name),
            next_seqs={owner: _next(reader, owner) for owner in owners},
        )


def since(store: "Store", began: Before) -> Refused:
    """Return what was refused since `began`. Raises IntegrityError when a file of dead letters is damaged."""
    with store.read() as reader:
        trainer = trainers.get(reader, began.trainer.name)
        stream = _stream(reader, trainer)
        told = feedback.get(reader, trainer.name)
        found = [
            (file, start)
            for owner, start in began.next_seqs.items()
            for file in segments.list_for(reader, _KIND, owner, start)
        ]
    tally, count, earlier = Tally(), 0, window_counts(began.trainer, began.stream)
    for file, start in found:
        skip = max(0, file.rows - (file.last_seq + 1 - start))  # merged meanwhile with older ones
        count += file.rows - skip
        for row in rejects.first(store.home, file, skip, MOST_LOOKED_AT - tally.count):
            _add(tally, row)
    return Refused(
        count=count,
        looked_at=tally.count,
        reasons=tally.reasons(),
        nothing_used=_nothing_used(began, trainer, stream, told),
        nothing_read=not (_grew(began.stream, stream, "read", "labels_read") or _grew(began.feedback, told, "read")),
        newest_ms=stream.watermark_ms,
        windows={name: count - earlier[name] for name, count in window_counts(trainer, stream).items()},
    )


def refuse_useless(refused: Refused) -> None:
    """Raise InvalidError when nothing of what a run read could be used."""
    if not refused.nothing_used or not refused.reasons:
        return
    most = refused.reasons[0]
    place = most["examples"][0]
    share = "all" if most["count"] == refused.looked_at else f"{most['count']:,} of them"
    hint = most["hint"] + (" " if most["hint"].endswith("?") else "; " if most["hint"] else "")
    next_steps = "all are kept, see upm events dead-letters; try a mended file first with upm ingest FILE --check"
    raise InvalidError(
        f"nothing of what was read could be used: {refused.count:,} refused, {share} because {most['reason']} "
        f"({place['source']}:{place['offset']})",
        hint=f"{hint}{next_steps}",
        code="UPM-E180",
        context={"refused": refused.row()},
    )


def _add(tally: Tally, row: Mapping[str, Any]) -> None:
    def look() -> Look:
        raw = str(row.get("raw", "")).encode(errors="replace")
        return look_at(raw) if row.get("format") == "jsonl" else Look()

    tally.add(row["reason"], row["source"], row["offset"], look, is_window=row.get("kind") == "record")


def _nothing_used(began: Before, trainer: Trainer, stream: Stream, told: Feedback) -> bool:
    """Say whether something came, and all of it was refused: by who reads it, or by the learner."""
    if _grew(began.stream, stream, "duplicate", "late", "labels_read"):
        return False
    if _grew(began.feedback, told, "predictions", "outcomes", "duplicate", "elsewhere"):
        return False
    admitted = stream.released + stream.pending - began.stream.released - began.stream.pending
    if admitted:
        unlearned = trainer.dead_letter - began.trainer.dead_letter
        return unlearned >= admitted and not _grew(began.trainer, trainer, "trained", "unlabelled")
    return _grew(began.stream, stream, "dead_letter") or _grew(began.feedback, told, "dead_letter")


def _grew(old: object, new: object, *counts: str) -> bool:
    return any(getattr(new, count) > getattr(old, count) for count in counts)


def _stream(reader: "Reader", trainer: Trainer) -> Stream:
    return streams.find(reader, trainer.stream) or Stream(name=trainer.stream)


def _next(reader: "Reader", owner: str) -> int:
    last = segments.last(reader, _KIND, owner)
    return last.last_seq + 1 if last else 0

"""How many dead letters somebody has looked at and said so, of a stream, of a trainer, and of what agents told it.

Kept beside the cursors, as each is a position: how far in the counts.
"""

from dataclasses import dataclass

from upm_cli.core.records import Feedback, Stream, Trainer
from upm_cli.store import cursors
from upm_cli.store.unit import Reader, Tx


@dataclass(frozen=True, slots=True)
class Seen:
    """Of the dead letters that a stream, a trainer and its feedback count: those that were acknowledged."""

    stream: int = 0
    trainer: int = 0
    feedback: int = 0

    def left(self, stream: Stream, trainer: Trainer, feedback: Feedback) -> int:
        """Return how many came since."""
        counts = (
            (stream.dead_letter, self.stream),
            (trainer.dead_letter, self.trainer),
            (feedback.dead_letter, self.feedback),
        )
        return sum(max(0, count - seen) for count, seen in counts)


def of(r: Reader, stream: str, trainer: str) -> Seen:
    """Return what was acknowledged; nothing yet if nobody did."""
    known = cursors.find(r, _stream(stream), _trainer(trainer), _feedback(trainer))
    return Seen(*(known.get(key, 0) for key in (_stream(stream), _trainer(trainer), _feedback(trainer))))


def acknowledge(tx: Tx, stream: Stream, trainer: Trainer, feedback: Feedback) -> None:
    """Say that all that these count were looked at."""
    cursors.put(tx, _stream(stream.name), stream.dead_letter)
    cursors.put(tx, _trainer(trainer.name), trainer.dead_letter)
    cursors.put(tx, _feedback(trainer.name), feedback.dead_letter)


def stream_changed(tx: Tx, before: Stream, after: Stream) -> None:
    """Dead letters of a stream were fed in again: nobody knows whether those that stay were seen, so fewer were."""
    _lower(tx, _stream(after.name), before.dead_letter - after.dead_letter)


def feedback_changed(tx: Tx, before: Feedback, after: Feedback) -> None:
    """The same for lines of agents."""
    _lower(tx, _feedback(after.trainer), before.dead_letter - after.dead_letter)


def trainer_changed(tx: Tx, before: Trainer, after: Trainer) -> None:
    """A trainer went back to an earlier checkpoint: what it refused after that comes again."""
    if after.dead_letter < before.dead_letter:
        key = _trainer(after.name)
        _lower(tx, key, cursors.get(tx, key) - after.dead_letter)


def forget(tx: Tx, trainer: str) -> None:
    """The trainer is removed; its stream stays."""
    for key in (_trainer(trainer), _feedback(trainer)):
        _lower(tx, key, cursors.get(tx, key))


def _lower(tx: Tx, key: str, by: int) -> None:
    known = cursors.get(tx, key) if by > 0 else 0
    if known:
        cursors.put(tx, key, max(0, known - by))


def _stream(name: str) -> str:
    return f"dead-letters/stream/{name}"


def _trainer(name: str) -> str:
    return f"dead-letters/trainer/{name}"


def _feedback(trainer: str) -> str:
    return f"dead-letters/feedback/{trainer}"

"""Feedback: how far the predictions and outcomes of each trainer were read."""

from upm_cli.core.records import Feedback
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def get(r: Reader, trainer: str) -> Feedback:
    """Return the feedback of a trainer; one of which nothing was read yet if there is none."""
    rows = r.query("feedback.find", trainer=trainer)
    return codec(Feedback).decode(rows[0]) if rows else Feedback(trainer=trainer)


def put(tx: Tx, feedback: Feedback) -> None:
    """Add or replace the feedback of a trainer."""
    tx.put("feedback", codec(Feedback).encode(feedback))

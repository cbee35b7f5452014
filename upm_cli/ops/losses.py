"""The loss of a trainer or a snapshot, with one word for each quantity (docs/glossary.md).

`progressive` is the loss: the mean over every window learned, each before it was learned. `recent` is the recent loss,
the same over the last 1,000; `last` is the mean of the last batch, which only machines look at.
"""

from collections.abc import Mapping
from typing import Any

from upm_cli.core.records import Trainer


def of_trainer(trainer: Trainer) -> dict[str, float | None]:
    """Return the losses of a trainer as it stands."""
    return {
        "progressive": trainer.loss_sum / trainer.trained if trainer.trained else None,
        "recent": of_metrics(trainer.metrics)["recent"],
        "last": trainer.last_loss,
    }


def of_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return loss and recent loss in the metrics of a snapshot; None where they have none."""
    found = metrics.get("loss")
    told = found if isinstance(found, Mapping) else {"progressive": found}
    return {name: _number(told.get(name)) for name in ("progressive", "recent")}


def in_words(losses: Mapping[str, float | None], digits: int = 4) -> str:
    """Say the loss, and the recent one where it is known."""
    loss, recent = losses["progressive"], losses["recent"]
    said = f"loss {'unknown' if loss is None else f'{loss:.{digits}f}'}"
    return said if recent is None else f"{said}, recent loss {recent:.{digits}f}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

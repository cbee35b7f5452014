"""What agents tell: a prediction that was served, and what came of it.

There is one of these for each line that is read, so they are tuples, which are made fastest.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from upm_cli.core.window import LabelKind

PREDICTION = "ai.upm.prediction"
OUTCOME = "ai.upm.outcome"


class Prediction(NamedTuple):
    """What an agent answered about one window, and by which model. Instants are Unix milliseconds."""

    prediction_id: str
    window_id: str
    trainer: str
    tenant: str  # "" for none
    version: int
    digest: str  # sha256 of the model's canonical bytes
    epoch: int
    agent: str
    predicted_at_ms: int
    start_ms: int  # of the window
    end_ms: int
    answer: Mapping[str, Any]  # as LabelCodec.decode gives it

    @property
    def time_ms(self) -> int:
        return self.predicted_at_ms


class Label(NamedTuple):
    """A label as the columns of a batch hold it."""

    kind: LabelKind
    value: float  # NaN for classes and maps
    text: str

    @property
    def plain_value(self) -> float | None:
        """The number, as JSON can hold it."""
        return None if math.isnan(self.value) else self.value


class Outcome(NamedTuple):
    """The ground truth of one prediction. `acted`: whether the prediction had an influence on what happened."""

    prediction_id: str
    label: Label
    acted: bool
    observed_at_ms: int
    agent: str
    served: Prediction | None = None  # what it is about, if the agent still knew

    @property
    def time_ms(self) -> int:
        return self.observed_at_ms


def task_of(answer: Mapping[str, Any]) -> str:
    """Return the task that `answer` belongs to, by its form: see LabelCodec.decode."""
    if "probabilities" in answer:
        return "multiclass"
    if isinstance(answer["prediction"], Mapping):
        return "structured"
    return "binary" if "probability" in answer else "regression"

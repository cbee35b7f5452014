"""Online learning on hashed, sparse windows: pure NumPy, the same bytes for the same windows."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from upm_cli.core.learning.linear import LinearLearner
from upm_cli.core.learning.protocol import Learned, Learner, Reject
from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.errors import IntegrityError, InvalidError

__all__ = ["Learned", "Learner", "LearnerSpec", "Reject", "create", "restore"]

KINDS: Mapping[str, type[LinearLearner]] = {"linear": LinearLearner}


def create(spec: LearnerSpec) -> Learner:
    """Return a learner that has seen nothing. Raises InvalidError when the task is not decided yet."""
    if spec.task == "auto":
        raise InvalidError(
            "the learner's task is still 'auto'",
            hint="decide it from labels, or set learner.task",
            code="UPM-E037",
        )
    return KINDS[spec.kind](spec)


def restore(meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Learner:
    """Return the learner whose `meta()` and `arrays()` these are. Raises IntegrityError when they are not one's."""
    kind = str(meta.get("kind"))
    if kind not in KINDS:
        raise IntegrityError(
            f"the checkpoint is of an unknown learner {kind!r}",
            hint="it was written by a newer upm; use that one",
            code="UPM-E096",
        )
    return KINDS[kind].restore(meta, arrays)

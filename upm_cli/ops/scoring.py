"""Scoring frozen snapshots on windows of the log: what they would have predicted, and how far that was off."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from upm_cli.core.judging.paired import of_predictions
from upm_cli.core.learning.labels import LabelCodec, LabelReason
from upm_cli.core.predict import Model, open_model
from upm_cli.core.records import Snapshot
from upm_cli.core.snapshot import SnapshotFormatError
from upm_cli.core.versions import snapshot_id
from upm_cli.core.window import F64Array, I64Array, WindowBatch
from upm_cli.errors import IntegrityError
from upm_cli.ops import snapshots as snapshot_ops

if TYPE_CHECKING:
    from pathlib import Path

KEPT: Final = 4  # models in memory: champion and candidate, and the last ones


@dataclass(slots=True)
class Scorer:
    """A snapshot whose bytes were proven, ready to predict."""

    model: Model
    labels: LabelCodec

    def losses(self, rows: WindowBatch, at: I64Array, loss_scale: float) -> F64Array:
        """Return the losses (n,) on all of `rows`; NaN but for those `at`, and where the label is not usable."""
        found = np.full(len(rows), np.nan)
        if at.size:
            some = rows.take(at) if at.size < len(rows) else rows
            encoded, predictions = self.labels.encode(some), self.model.predict_many(some.x)
            unknown = encoded.reasons == LabelReason.TOO_MANY_CLASSES  # a class it had not met: it gave it nothing
            encoded.targets[unknown, 0] = predictions.shape[1]
            losses = of_predictions(predictions, encoded.targets, self.labels.task, loss_scale)
            losses[(encoded.reasons != 0) & ~unknown] = np.nan
            found[at] = losses
        return found


@dataclass(slots=True)
class Scorers:
    """The snapshots that are being scored, by digest: proven once, then kept in memory."""

    known: dict[str, Scorer] = field(default_factory=dict)

    def get(self, home: "Path", row: Snapshot) -> Scorer:
        """Return the scorer of a snapshot. Raises IntegrityError when its bytes are not what they were."""
        scorer = self.known.pop(row.digest, None)
        if scorer is None:
            arrays, manifest = snapshot_ops.load(home, row)
            try:
                scorer = Scorer(open_model(arrays, manifest), LabelCodec.from_meta(manifest["labels"]))
            except (SnapshotFormatError, KeyError) as exc:
                raise IntegrityError(
                    f"{snapshot_id(row.trainer, row.version)} can't predict: {exc}",
                    hint=f"upm snapshot verify {row.trainer} --all",
                    code="UPM-E096",
                ) from exc
            scorer.labels.max_classes = len(scorer.labels.classes)  # it learns no further ones
        self.known[row.digest] = scorer
        while len(self.known) > KEPT:
            del self.known[next(iter(self.known))]
        return scorer

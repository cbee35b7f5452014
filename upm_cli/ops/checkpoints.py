"""A trainer's fold as bytes, so that training goes on where it was committed; and how a fold begins."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from upm_cli.core import snapshot as codec
from upm_cli.core.learning import LearnerSpec
from upm_cli.core.learning.labels import LabelCodec, TaskVote
from upm_cli.core.records import Trainer
from upm_cli.core.training import Fold, Tally
from upm_cli.errors import IntegrityError
from upm_cli.store import blobs

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store


def begin_fold(settings: "Settings", vote: TaskVote, trainer: Trainer, *, input_ended: bool) -> Fold | None:
    """Return a fold that has learned nothing, once the labels seen say what the task is (None: not yet).

    With a task in the configuration only a structured one needs labels, for the names of its outputs.
    """
    wanted = LearnerSpec(
        **asdict(settings.learner),
        learning_rate=settings.trainer_worker.learning_rate,
        batch_size=settings.trainer_worker.batch_size,
    )
    needs_labels = wanted.task in ("auto", "structured")
    if needs_labels and not (vote.is_complete or (input_ended and vote.count)):
        return None
    task = (vote.task or wanted.task) if wanted.task == "auto" else wanted.task
    names = vote.names if task == "structured" else ()
    if task == "structured" and not names:
        return None
    spec = wanted.resolved(task, len(names))
    fold = Fold.begin(spec, LabelCodec.begin(task, names, spec.max_classes), trainer.log_position)
    fold.tally = _tally(trainer)
    return fold


def _tally(trainer: Trainer) -> Tally:
    return Tally(
        trained=trainer.trained,
        unlabelled=trainer.unlabelled,
        dead_letter=trainer.dead_letter,
        loss_sum=trainer.loss_sum,
        last_loss=trainer.last_loss,
        last_window_id=trainer.last_window_id or "",
        influence={int(version): list(counts) for version, counts in trainer.influence.items()},
    )


def encode_checkpoint(fold: Fold) -> bytes:
    """Return everything a trainer knows as canonical bytes; the same knowledge gives the same bytes."""
    arrays, meta = fold.to_parts()
    return codec.encode(arrays, {"schema_version": codec.SCHEMA_VERSION, "checkpoint": meta})


def load_checkpoint(store: "Store", trainer: Trainer) -> Fold | None:
    """Return the fold as the trainer committed it, or None when it has learned nothing yet.

    Counts and position are those of the row: after a rollback the weights are older than the position. Raises
    IntegrityError when the checkpoint is damaged.
    """
    if trainer.checkpoint_digest is None:
        return None
    data = blobs.get(store.home, trainer.checkpoint_digest)
    try:
        arrays, manifest = codec.decode(data)
        fold = Fold.from_parts(arrays, manifest["checkpoint"])
    except (codec.SnapshotFormatError, KeyError, ValueError) as exc:
        raise IntegrityError(
            f"the checkpoint of trainer {trainer.name} can't be used: {exc}",
            hint=f"upm rollback {trainer.name} goes back to the last good snapshot",
            code="UPM-E096",
        ) from exc
    fold.position = trainer.log_position
    fold.tally = _tally(trainer)
    return fold


def snapshot_parts(fold: Fold, weights: str | None) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the tensors agents load and what the manifest says of them; `weights` is the fold's weights_sha256."""
    arrays, model = fold.learner.model()
    return arrays, {**fold.manifest_fields(), "model": model, "weights_sha256": weights}


def weights_sha256(fold: Fold) -> str:
    """Return the sha256 over the canonical bytes of everything the learner has learned."""
    return hashlib.sha256(codec.encode(fold.learner.arrays(), {"schema_version": codec.SCHEMA_VERSION})).hexdigest()

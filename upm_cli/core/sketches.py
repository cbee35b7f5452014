"""Records with only what a decision looks at: their short form on the record, and back.

A rollback looks at every snapshot and every move of a trainer. Kept whole they would fill the ledger with manifests;
kept like this they are a few dozen bytes each. What is left out is filled with values that no decision reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from upm_cli.core.plain import to_plain
from upm_cli.core.records import Activation, Mode, Ring, Snapshot, SnapshotStatus, Trainer

_SNAPSHOT: Final = ("version", "status", "quarantined", "first_seq", "last_seq", "created_at_ms")
_MOVE: Final = ("epoch", "ring", "version", "previous_version", "percent", "kind")
_REWIND: Final = ("from_version", "to_version", "last_version", "skipped_from_seq", "skipped_to_seq")


def trainer_sketch(trainer: Trainer) -> dict[str, Any]:
    """Return a trainer's name, epoch and rewinds."""
    lineage = [{key: rewind[key] for key in _REWIND if key in rewind} for rewind in trainer.lineage]
    return {"name": trainer.name, "epoch": trainer.epoch, "lineage": to_plain(lineage, "lineage")}


def sketched_trainer(plain: Mapping[str, Any]) -> Trainer:
    """Return the trainer of a sketch."""
    name = str(plain["name"])
    return Trainer(name=name, stream=name, epoch=int(plain["epoch"]), lineage=tuple(plain["lineage"]))


def snapshot_sketches(snapshots: Iterable[Snapshot]) -> list[dict[str, Any]]:
    """Return version, status, quarantine, log range and age of snapshots."""
    return [{key: to_plain(getattr(shot, key)) for key in _SNAPSHOT} for shot in snapshots]


def sketched_snapshots(trainer: str, plain: Iterable[Mapping[str, Any]]) -> list[Snapshot]:
    """Return the snapshots of sketches."""
    return [
        Snapshot(
            trainer=trainer,
            version=int(each["version"]),
            mode=Mode.SHADOW,
            digest="",
            file_digest="",
            codec="none",
            path="",
            size_bytes=0,
            raw_bytes=0,
            status=SnapshotStatus(each["status"]),
            quarantined=bool(each["quarantined"]),
            first_seq=int(each["first_seq"]),
            last_seq=int(each["last_seq"]),
            created_at_ms=int(each["created_at_ms"]),
        )
        for each in plain
    ]


def move_sketches(history: Iterable[Activation]) -> list[dict[str, Any]]:
    """Return what each move of a pointer changed."""
    return [{key: to_plain(getattr(move, key)) for key in _MOVE} for move in history]


def sketched_moves(trainer: str, plain: Iterable[Mapping[str, Any]]) -> list[Activation]:
    """Return the moves of sketches."""
    return [
        Activation(
            trainer=trainer,
            ring=Ring(each["ring"]),
            epoch=int(each["epoch"]),
            version=int(each["version"]),
            previous_version=each["previous_version"],
            percent=int(each["percent"]),
            kind=str(each["kind"]),
            decision_id="",
            actor="",
            reason="",
            at_ms=0,
        )
        for each in plain
    ]


def live_of(history: Sequence[Activation]) -> dict[Ring, Activation]:
    """Return what is live in each ring after `history`: its newest epoch; the ring that moved last comes last."""
    newest = {move.ring: move for move in sorted(history, key=lambda move: move.epoch)}
    return dict(sorted(newest.items(), key=lambda item: item[1].epoch))

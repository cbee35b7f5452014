"""`upm doctor --restore`: what going back to a kept state would do, said before it is done, and doing it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.restoring import Fate, epochs
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import StorageError
from upm_cli.ids import iso
from upm_cli.ops import restore_view as view
from upm_cli.ops.ledger_words import what
from upm_cli.ops.redoing import Redone
from upm_cli.ops.restore_again import carry_out
from upm_cli.ops.restore_view import NewerRows, NewerSnapshot, TrainerThen
from upm_cli.ops.restore_words import command
from upm_cli.ops.rollback import DISK_FULL
from upm_cli.store import reserve
from upm_cli.store import restore as store_restore

if TYPE_CHECKING:
    from upm_cli.store.restore import Restored, Way
    from upm_cli.store.unit import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerAction:
    """An action on record that the kept state does not know, and what becomes of it."""

    n: int
    at: str
    actor: str
    action: str
    subject: str
    what: str
    fate: str  # done_again | run_it_again | by_itself | superseded | nothing
    done: str  # what the restore did about it, in words
    run: str  # the command to run again


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingBack:
    """What a restore does, or would do."""

    why: str
    source: Path
    written_at: str
    age_s: float
    from_generation: int
    generation: int  # of the state after it
    kept_damaged_as: Path | None
    kept_ledger_as: Path | None  # a copy of the ledger, when it does not end whole
    ledger_fits: bool  # the kept state belongs to this ledger
    ledger_entries_kept: int
    actions: tuple[NewerAction, ...]
    logs: tuple[NewerRows, ...]
    snapshots: tuple[NewerSnapshot, ...]
    trainers: tuple[TrainerThen, ...]
    afterwards: tuple[str, ...]  # what happens by itself then, or has to be done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    actions: tuple[NewerAction, ...]
    logs: tuple[NewerRows, ...]
    snapshots: tuple[NewerSnapshot, ...]
    trainers: tuple[TrainerThen, ...]
    epochs: Mapping[str, int]  # on record, by trainer


def plan(home: Path, clock: Clock, *, actor: str) -> GoingBack | None:
    """Return what a restore would do, changing nothing; None when the state is good.

    Raises IntegrityError when no kept state opens.
    """
    return _told(store_restore.rehearse(home, clock, partial(_again, home, clock, actor), actor=actor), clock)


def go_back(
    home: Path, clock: Clock, *, actor: str, reason: str = "", lock_timeout_s: float = 10.0
) -> GoingBack | None:
    """Put the newest kept state in the place of one that does not open; None: a good one stays as it is.

    A full disk gives up its reserve, as for a rollback. Raises IntegrityError when no kept state opens, BusyError
    while somebody writes or another program has the state open, StorageError.
    """
    again = partial(_again, home, clock, actor)
    restore = partial(
        store_restore.restore, home, clock, again, actor=actor, reason=reason, lock_timeout_s=lock_timeout_s
    )
    try:
        return _told(restore(), clock)
    except StorageError as exc:
        if exc.code != DISK_FULL or not reserve.give_up(home):
            raise
        return _told(restore(), clock)


def _again(home: Path, clock: Clock, actor: str, tx: "Tx", way: "Way") -> _Found:
    """Do again in `tx`, a copy of the kept state, what must not be lost, and look what else it does not know."""
    done = carry_out(tx, home, clock, way.entries or (), actor=actor)
    return _Found(
        actions=tuple(_action(each) for each in done),
        logs=tuple(view.newer_rows(tx, home)),
        snapshots=tuple(view.newer_snapshots(tx, home)),
        trainers=tuple(view.trainers_then(tx, home)),
        epochs=epochs(way.entries or ()),
    )


def _action(redone: Redone) -> NewerAction:
    entry = redone.entry
    told = {key: entry[key] for key in ("n", "at", "actor", "action", "subject")}
    run = command(entry) if redone.fate is Fate.RUN else ""
    said = what(entry["action"], entry["details"])
    return NewerAction(**told, what=said, fate=redone.fate.value, done=redone.done, run=run)


def _told(done: "Restored[_Found] | None", clock: Clock) -> GoingBack | None:
    if done is None:
        return None
    way, found = done.way, done.found
    return GoingBack(
        why=way.why,
        source=way.source,
        written_at=iso(way.written_ms),
        age_s=max(0.0, (clock.now_ms() - way.written_ms) / 1000),
        from_generation=way.meta.generation,
        generation=way.generation,
        kept_damaged_as=done.corrupt,
        kept_ledger_as=done.bad_ledger,
        ledger_fits=way.entries is not None,
        ledger_entries_kept=max(0, way.end.count - way.meta.ledger.count),
        actions=found.actions,
        logs=found.logs,
        snapshots=found.snapshots,
        trainers=found.trainers,
        afterwards=tuple(_afterwards(found)),
    )


def _afterwards(found: _Found) -> Iterator[str]:
    """Say what happens by itself after the restore, and what a person has to do for it."""
    for log in found.logs:
        yield (
            f"{log.rows:,} rows of log {log.stream} are read again from their files, with the same numbers; "
            "what came through a pipe has to be sent again"
        )
    for row in found.trainers:
        yield _learning(row)
        if (epoch := found.epochs.get(row.trainer, 0)) > row.epoch:
            yield (
                f"agents of {row.trainer} may have heard of epoch {epoch}; the state is at {row.epoch}, and what they "
                "have newer they keep: upm sync run --lower-epoch lets them step down"
            )
    for shot in found.snapshots:
        yield f"{snapshot_id(shot.trainer, shot.version)} is made again when its {shot.windows:,} windows are learned"
    yield "events of what is done again are sent to webhooks again"


def _learning(row: TrainerThen) -> str:
    if not row.can_learn_on:
        return (
            f"trainer {row.trainer} can't learn on: its checkpoint of that time is gone; "
            f"upm rollback {row.trainer} puts it back to its last good version"
        )
    if row.paused is not None:
        return f"trainer {row.trainer} is paused until upm resume {row.trainer}: {row.paused}"
    return f"trainer {row.trainer} learns on from log row {row.log_position:,} ({row.trained:,} windows learned)"

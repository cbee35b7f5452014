"""Which snapshots a change of keys is about: what tenants get, what can be gone back to, what loses its signature."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.core.delivery.keyring import Keyring
from upm_cli.core.delivery.trust import Trust
from upm_cli.core.records import Ring, Snapshot
from upm_cli.core.retention import protected_versions
from upm_cli.core.signatures import SignatureState
from upm_cli.core.versions import snapshot_id
from upm_cli.ops import signatures
from upm_cli.ops.decisions import View
from upm_cli.store import activations, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader


def every(reader: "Reader") -> list[Snapshot]:
    """Return all snapshots of all trainers."""
    return [row for each in trainers.list_all(reader) for row in snapshots.list_for(reader, each.name)]


def reachable(reader: "Reader") -> list[Snapshot]:
    """Return what serves, and what can be gone back to: all that is never deleted."""
    found = []
    for trainer in trainers.list_all(reader):
        view, history = View.read(reader, trainer.name), activations.history(reader, trainer.name)
        kept = protected_versions(trainer, [*view.rows.values()], view.live, history, view.pins)
        found += [row for version, row in view.rows.items() if version in kept]
    return found


def serving(reader: "Reader") -> list[Snapshot]:
    """Return what tenants get now, of all trainers."""
    found = []
    for trainer in trainers.list_all(reader):
        view = View.read(reader, trainer.name)
        moves = [move for ring, move in view.live.items() if ring is not Ring.SHADOW and move.percent > 0]
        versions = dict.fromkeys(each for move in moves for each in (move.version, move.rest_version) if each)
        found += [view.rows[version] for version in versions if version in view.rows]
    return found


def divided(home: Path, rows: list[Snapshot]) -> tuple[list[Snapshot], list[Snapshot]]:
    """Return those of `rows` that a believed key has signed, and the others."""
    signed: list[Snapshot] = []
    bare: list[Snapshot] = []
    for row, found in zip(rows, signatures.judged(home, rows), strict=True):
        (signed if found.is_signed else bare).append(row)
    return signed, bare


def left_unsigned(reader: "Reader", ring: Keyring, keyid: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of what only the revoked key `keyid` has signed, and of what tenants get of that."""
    known = ring.known()
    signed = [row for row in every(reader) if any(each.get("keyid") == keyid for each in row.signatures)]
    bare = [row for row in signed if not _counts(row, known)]
    live = {(row.trainer, row.version) for row in serving(reader)}
    return ids(bare), ids(row for row in bare if (row.trainer, row.version) in live)


def _counts(row: Snapshot, known: Trust) -> bool:
    found = signatures.by_keys(row, known)
    if found.state is SignatureState.UNCHECKED:
        return any(known.believes(each.get("keyid", "")) for each in row.signatures)
    return found.is_signed


def ids(rows: Iterable[Snapshot]) -> tuple[str, ...]:
    """Return the ids of snapshots (main@42)."""
    return tuple(snapshot_id(row.trainer, row.version) for row in rows)

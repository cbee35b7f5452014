"""The keys of a project as people look at them: what each is for, and what it has signed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.core.delivery.keyring import Key
from upm_cli.core.signatures import SignatureState
from upm_cli.core.versions import snapshot_id
from upm_cli.ops import signatures
from upm_cli.ops.key_reach import every, serving
from upm_cli.store import keys

if TYPE_CHECKING:
    from upm_cli.core.records import Snapshot
    from upm_cli.store.session import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One key. Snapshots by their ids (main@42)."""

    key: Key
    private: str  # kept | gone | missing: whether its private half is there, as it should be or not
    snapshots: int  # that it has signed
    only: int  # that no other believed key has signed
    serving: tuple[str, ...]  # signed by it, and what tenants get now


def listed(home: Path, reader: "Reader") -> list[Listed]:
    """Return all keys, oldest first. Signatures are proven where the package for it is installed."""
    ring = keys.read(home)
    rows = every(reader)
    signers = _signers(home, rows)
    live = {(row.trainer, row.version) for row in serving(reader)}
    return [_listed(home, key, signers, live) for key in ring.keys]


def _listed(
    home: Path, key: Key, signers: Mapping[tuple[str, int], tuple[str, ...]], live: set[tuple[str, int]]
) -> Listed:
    mine = {at: by for at, by in signers.items() if key.keyid in by}
    is_there = keys.seed_file(home, key.keyid).exists()
    return Listed(
        key=key,
        private="kept" if is_there else "missing" if key.is_kept else "gone",
        snapshots=len(mine),
        only=sum(set(by) == {key.keyid} for by in mine.values()),
        serving=tuple(snapshot_id(*at) for at in sorted(mine) if at in live),
    )


def _signers(home: Path, rows: "list[Snapshot]") -> dict[tuple[str, int], tuple[str, ...]]:
    """Return for each snapshot the keys whose signature of it is right, the revoked ones too."""
    found = {}
    for row, each in zip(rows, signatures.judged(home, rows), strict=True):
        named = tuple(dict.fromkeys(str(one.get("keyid", "")) for one in row.signatures))
        is_proven = each.state is not SignatureState.UNCHECKED
        found[row.trainer, row.version] = tuple(one for one in named if one not in each.wrong) if is_proven else named
    return found

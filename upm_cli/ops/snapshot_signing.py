"""Signing snapshots that exist: only those whose bytes were read back and proven."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.core.delivery import statement
from upm_cli.core.delivery.envelope import MAX_SIGNATURES
from upm_cli.core.delivery.trust import Trust
from upm_cli.core.records import Snapshot
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import authority, signatures
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.signer import Signer, signer
from upm_cli.store import keys, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store, Tx

Key = tuple[str, int, str]  # trainer, version, digest: what was proven, whatever else its row says later


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Which snapshots are what was written, and what is wrong with the others."""

    whole: frozenset[Key]
    damaged: tuple[IntegrityError, ...]

    def among(self, rows: Iterable[Snapshot]) -> list[Snapshot]:
        """Return those of `rows` that were proven."""
        return [row for row in rows if _key(row) in self.whole]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnew:
    """What signing did: ids of snapshots (main@42)."""

    keyid: str
    signed: tuple[str, ...]
    already: tuple[str, ...]  # had its signature before
    damaged: tuple[IntegrityError, ...]


def sign(
    store: "Store",
    settings: "Settings",
    wanted: Sequence[tuple[str, str | None]],
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> SignedAnew:
    """Sign snapshots with the key that signs now: (trainer, word for a version; None: all of them).

    Damage to one that was named is an error; among all of a trainer's it is a result. Raises RefusedError,
    NotFoundError (also where there is no key), IntegrityError, UsageError.
    """
    authority.require(settings, store.home, actor, "snapshot.sign")
    found = must_sign(store.home)
    with store.read() as reader:
        rows = [row for name, word in wanted for row in _chosen(reader, name, word)]
    lacking = lacking_signature(store.home, found, rows)
    proven = prove(store.home, lacking)
    if proven.damaged and all(word is not None for _, word in wanted):
        raise proven.damaged[0]
    todo = proven.among(lacking)
    if todo and not dry_run:
        with store.write(actor=actor) as tx:
            found = must_sign(store.home)
            ids = put_signatures(tx, store.home, found, todo)
            for name in dict.fromkeys(row.trainer for row in todo):
                of_it = [each for each in ids if each.partition("@")[0] == name]
                tx.ledger("snapshot.sign", name, keyid=found.keyid, signed=of_it, reason=reason)
    done = {_key(row) for row in lacking}
    return SignedAnew(
        keyid=found.keyid,
        signed=tuple(snapshot_id(row.trainer, row.version) for row in todo),
        already=tuple(snapshot_id(row.trainer, row.version) for row in rows if _key(row) not in done),
        damaged=proven.damaged,
    )


def must_sign(home: Path) -> Signer:
    """Return what signs. Raises NotFoundError where no key was made, and what `signer` raises."""
    found = signer(home)
    if found is None:
        raise no_key()
    return found


def no_key() -> NotFoundError:
    """Return the error for a project that has no key to sign with."""
    return NotFoundError("this project has no key to sign with", hint="upm keys init", code="UPM-E113")


def lacking_signature(home: Path, signer: Signer, rows: Iterable[Snapshot]) -> list[Snapshot]:
    """Return those of `rows` that `signer` has not signed, or that carry a signature that is not right."""
    shots = list(rows)
    found = signatures.judged(home, shots)
    return [row for row, each in zip(shots, found, strict=True) if signer.keyid not in each.by or each.wrong]


def prove(home: Path, rows: Iterable[Snapshot]) -> Proven:
    """Read every one of `rows` back. Takes as long as reading all their bytes: not inside of a unit of work."""
    whole, damaged = set(), []
    for row in rows:
        try:
            snapshot_ops.load(home, row)
        except IntegrityError as exc:
            damaged.append(exc)
        else:
            whole.add(_key(row))
    return Proven(whole=frozenset(whole), damaged=tuple(damaged))


def put_signatures(tx: "Tx", home: Path, signer: Signer, rows: Iterable[Snapshot]) -> tuple[str, ...]:
    """Write the signatures of `signer` into the rows of proven snapshots; return the ids of those that lacked it."""
    known = keys.read(home).known()
    fresh = [signed_anew(row, signer, known) for row in lacking_signature(home, signer, rows)]
    snapshots.sign(tx, fresh)
    return tuple(snapshot_id(row.trainer, row.version) for row in fresh)


def signed_anew(row: Snapshot, signer: Signer, known: Trust) -> Snapshot:
    """Return `row` with the signature of `signer` first, and of the others only those that count."""
    counting: Collection[str] = set(signatures.by_keys(row, known).by) - {signer.keyid}
    kept = {each["keyid"]: each for each in row.signatures if each.get("keyid") in counting}
    made = signer.sign(statement.envelope(row.manifest, row.digest)).to_json()
    return replace(row, signatures=(made, *[*kept.values()][: MAX_SIGNATURES - 1]))


def _chosen(reader: "Reader", name: str, word: str | None) -> list[Snapshot]:
    if word is not None:
        return [snapshot_ops.find(reader, name, word)]
    trainers.get(reader, name)
    return snapshots.list_for(reader, name)


def _key(row: Snapshot) -> Key:
    return row.trainer, row.version, row.digest

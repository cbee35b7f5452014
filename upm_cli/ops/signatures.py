"""What the signatures of snapshots come to, by the keys of the project."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli import ed25519
from upm_cli.core.delivery import statement
from upm_cli.core.delivery.envelope import Envelope, signature_from
from upm_cli.core.delivery.signed import judge
from upm_cli.core.delivery.trust import Trust
from upm_cli.core.records import Snapshot
from upm_cli.core.signatures import SignatureState, Signed
from upm_cli.errors import UpmError
from upm_cli.store import keys

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings


def judged(home: Path, rows: Iterable[Snapshot]) -> list[Signed]:
    """Return what the signatures of each row come to. What can't be checked, or read, is a result, not an error."""
    shots = list(rows)
    if not any(row.signatures for row in shots):
        return [Signed() for _ in shots]  # nothing to check: neither keys nor a package are needed
    try:
        known = keys.read(home).known()
    except UpmError as exc:
        return [_unchecked(exc) if row.signatures else Signed() for row in shots]
    return [by_keys(row, known) for row in shots]


def judged_one(home: Path, row: Snapshot) -> Signed:
    """Return what the signatures of one row come to."""
    return judged(home, [row])[0]


def asked(settings: "Settings", home: Path, row: Snapshot) -> Signed | None:
    """Return the same where the settings ask for signatures; None: they don't."""
    return judged_one(home, row) if settings.snapshot_manager.require_signature else None


def refused_by_agents(home: Path, row: Snapshot) -> Signed | None:
    """Return what the signatures of `row` come to, if agents that believe the keys of this project will not take it."""
    try:
        has_keys = bool(keys.read(home).believed)
    except UpmError:
        return None
    found = judged_one(home, row)
    return found if has_keys and not found.is_signed else None


def by_keys(row: Snapshot, known: Trust) -> Signed:
    """Return what the signatures of `row` come to for who knows the keys `known`."""
    if not row.signatures:
        return Signed()
    try:
        envelope = envelope_of(row)
    except (UpmError, KeyError, TypeError, ValueError):
        return Signed(state=SignatureState.INVALID)
    try:
        return judge(envelope, known, ed25519.verify)
    except UpmError as exc:
        return _unchecked(exc)


def envelope_of(row: Snapshot) -> Envelope:
    """Return the statement about a snapshot with its signatures. Raises IntegrityError for one that is none."""
    signatures = [signature_from(dict(each)) for each in row.signatures]
    return statement.envelope(row.manifest, row.digest, signatures)


def _unchecked(exc: UpmError) -> Signed:
    return Signed(state=SignatureState.UNCHECKED, why=exc.message)

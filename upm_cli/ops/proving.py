"""Proving snapshots: that the bytes are what was written, and the signatures what was signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.core.records import Snapshot
from upm_cli.core.signatures import SignatureState, Signed
from upm_cli.errors import UsageError
from upm_cli.ops import keeping, signatures
from upm_cli.store import keys

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """One snapshot read back. `problem` says what is not as it should be; empty: nothing."""

    snapshot: Snapshot
    signed: Signed
    problem: str


def prove(store: "Store", rows: Sequence[Snapshot], *, is_required: bool) -> list[Proven]:
    """Read `rows` back. Without `is_required` an unsigned one is right, and one whose signature can't be checked.

    Raises UsageError where signatures are required and the package that checks them is not installed, IntegrityError
    where the list of keys is damaged then.
    """
    signed = signatures.judged(store.home, rows)
    blind = [each.why for each in signed if each.state is SignatureState.UNCHECKED]
    if blind and is_required:
        keys.read(store.home)  # damaged: it says so itself
        raise UsageError(blind[0], hint="pip install 'upm[sign]'", code="UPM-E110")
    return [
        Proven(snapshot=each.snapshot, signed=found, problem=_problem(each.error, found, is_required=is_required))
        for each, found in zip(keeping.verify(store, rows), signed, strict=True)
    ]


def _problem(error: Exception | None, found: Signed, *, is_required: bool) -> str:
    if error is not None:
        return str(error)
    if found.wrong or found.state is SignatureState.INVALID:
        return f"the signature is not what {', '.join(found.wrong) or 'anybody'} made"
    if is_required and not found.is_signed:
        return f"{found.words()}; snapshot_manager.require_signature is on"
    return ""

"""What is to be at an adapter, and whether a new pointer must say so.

Worked out anew from the whole state each time it may have changed, never from the events themselves: a missed event
costs nothing. Only what differs gets a new pointer, with the next serial.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from upm_cli.core.delivery.envelope import Signature
from upm_cli.core.delivery.machine import acked, place
from upm_cli.core.delivery.memo import Memo, Sent, remember
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.records import Adapter, AdapterStatus, Mode, Ring

HIGHEST_CLIMB: Final = 1 << 48  # serials up to here are stepped over; beyond, somebody made them up
MOST_CLIMBS: Final = 5  # whoever always says to have seen a later one is not believed for ever
MODE_OF_RING: Final = {Ring.SHADOW: Mode.SHADOW, Ring.CANARY: Mode.CANARY, Ring.GLOBAL: Mode.ACTIVE}


class Why(StrEnum):
    """Why a new pointer is due."""

    FIRST = "first"  # there is none yet, or none any more
    VERSION = "version"  # the tenant gets another one
    RING = "ring"  # the same, from another ring
    SIGNATURES = "signatures"  # the snapshot was signed since
    KEY = "key"  # another key signs now
    VALIDITY = "validity"  # half of its time is over
    BEHIND = "behind"  # the other side has taken a later pointer of the same epoch than ours
    LOWER = "lower"  # the other side has seen a later epoch, and a person lets it step down


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One version of a trainer as a pointer tells of it."""

    version: int
    digest: str
    file: ModelFile
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one tenant of a trainer gets now. `model` None: nothing is live for it.

    `barred` says why the model must not be sent although it is live: it is quarantined, its file is gone. Then agents
    keep what they have. `refused` says what is missing to send anything at all: that is an error of the adapter.
    """

    epoch: int  # of the trainer
    model: Model | None = None
    ring: Ring = Ring.SHADOW
    kind: str = "activate"
    decision_id: str = ""
    barred: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What pointers are made under. `keyid` is of the key that signs now, None: nobody signs."""

    now_ms: int
    validity_ms: int  # 0: for ever
    keyid: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A row as it is to be, and the pointer to put into it, with the reason for it; None: no new one is due."""

    row: Adapter
    pointer: Pointer | None = None
    why: Why | None = None


def plan(row: Adapter, target: Target, terms: Terms) -> Planned:
    """Return what becomes of `row` now that its tenant gets `target`. Twice is the same as once."""
    if target.model is None:
        return Planned(_kept(row, target, "nothing is live for this tenant", terms.now_ms))
    if target.refused:
        return Planned(_stuck(row, target.model, target.refused, terms.now_ms))
    if target.barred:
        return Planned(_barred(row, target, terms.now_ms))
    why = due(row, target, terms)
    if why is None:
        return Planned(_noted(replace(row, mode=MODE_OF_RING[target.ring]), ""))
    at = next_place(row, target.epoch)
    if at is None:
        return Planned(_stuck(row, target.model, _ahead(row, target.epoch), terms.now_ms))
    return _planned(row, target, target.model, at, why, terms)


def due(row: Adapter, target: Target, terms: Terms) -> Why | None:
    """Return why `row` needs a new pointer for `target`, which has a model; None: the newest one still holds."""
    memo, model = Memo.of(row), target.model
    sent = memo.sent
    if model is None or (row.version, row.digest) != (model.version, model.digest):
        return Why.VERSION
    if memo.seen is not None and memo.seen >= place(row):
        return Why.LOWER if memo.seen.epoch > target.epoch else Why.BEHIND
    if row.pointer is None or sent is None:
        return Why.FIRST
    if sent.ring != target.ring.value:
        return Why.RING
    if terms.keyid is not None and sent.keyid != terms.keyid:
        return Why.KEY
    if set(sent.signed_by) != {each.keyid for each in model.signatures}:
        return Why.SIGNATURES
    half = renewal_ms(row)
    has_end = terms.validity_ms > 0
    return Why.VALIDITY if (half is None) == has_end or (half is not None and terms.now_ms >= half) else None


def renewal_ms(row: Adapter) -> int | None:
    """Return when half of the validity of the newest pointer of `row` is over; None: never."""
    sent = Memo.of(row).sent
    if row.pointer is None or sent is None or sent.expires_at_ms is None:
        return None
    return (sent.issued_at_ms + sent.expires_at_ms) // 2


def next_place(row: Adapter, epoch: int) -> Place | None:
    """Return where the next pointer of `row` stands; None: the other side would refuse every place we may give it.

    It must be later than all that we sent and than what the other side has taken. Where that is of a later epoch than
    the trainer's, the state is older than the agents: it was restored, and a person has to let them step down.
    """
    memo, last = Memo.of(row), place(row)
    at = Place(epoch, last.serial + 1)
    if memo.seen is None or memo.seen < at:
        return at
    if memo.lowers is not None and memo.lowers >= memo.seen:
        return at
    if memo.seen.epoch == epoch and memo.seen.serial < HIGHEST_CLIMB and memo.climbs < MOST_CLIMBS:
        return Place(epoch, memo.seen.serial + 1)
    return None


def _planned(row: Adapter, target: Target, model: Model, at: Place, why: Why, terms: Terms) -> Planned:
    memo = Memo.of(row)
    lowers = memo.lowers if memo.lowers is not None and memo.lowers >= at else None
    expires = terms.now_ms + terms.validity_ms if terms.validity_ms else None
    issued = max(terms.now_ms, memo.sent.issued_at_ms + 1 if memo.sent is not None else 0)  # a clock may be set back
    pointer = Pointer(
        trainer=row.trainer,
        tenant=row.tenant_id,
        version=model.version,
        digest=model.digest,
        ring=target.ring.value,
        place=at,
        kind=target.kind,
        decision_id=target.decision_id,
        issued_at_ms=issued,
        expires_at_ms=expires,
        model=model.file,
        snapshot_signatures=model.signatures,
        lowers_from=lowers,
    )
    sent = Sent(
        keyid=terms.keyid,
        signed_by=tuple(each.keyid for each in model.signatures),
        ring=target.ring.value,
        kind=target.kind,
        issued_at_ms=issued,
        expires_at_ms=expires,
    )
    row = replace(
        remember(row, sent=sent, note="", lowers=lowers, seen=None, climbs=memo.climbs + (why is Why.BEHIND)),
        mode=MODE_OF_RING[target.ring],
        status=AdapterStatus.PENDING,
        version=model.version,
        digest=model.digest,
        epoch=at.epoch,
        serial=at.serial,
        pointer=None,  # the caller puts the envelope here
        attempts=0,
        next_attempt_at_ms=None,
        last_error=None,
        last_error_at_ms=None,
        updated_at_ms=terms.now_ms,
    )
    return Planned(row, pointer, why)


def _kept(row: Adapter, target: Target, why: str, now_ms: int) -> Adapter:
    """Nothing is to be sent: the agents keep what they have, and the row says why."""
    changed = _changed(
        row, now_ms, mode=MODE_OF_RING[target.ring], version=None, digest=None, pointer=None, **_waiting(row)
    )
    return _noted(changed, why + _keeps(row))


def _barred(row: Adapter, target: Target, now_ms: int) -> Adapter:
    """The version must not be sent anew. Where it is confirmed already it stays; else what is confirmed is wanted."""
    model = target.model
    assert model is not None
    if row.version == model.version and row.status is AdapterStatus.SYNCED and acked(row) == place(row):
        return _noted(row, f"{target.barred}; it is not sent anew")
    changed = _changed(row, now_ms, version=row.acked_version, digest=row.acked_digest, pointer=None, **_waiting(row))
    return _noted(changed, f"{target.barred}: not sent{_keeps(row)}")


def _waiting(row: Adapter) -> dict[str, Any]:
    """Return the fields of a row with nothing to send. A pointer that may have got through leaves it pending."""
    is_known = row.acked_version is not None and acked(row) == place(row)
    return {
        "status": AdapterStatus.SYNCED if is_known else AdapterStatus.PENDING,
        "attempts": 0,
        "next_attempt_at_ms": None,
    }


def _keeps(row: Adapter) -> str:
    return "" if row.acked_version is None else f"; agents keep v{row.acked_version}"


def _stuck(row: Adapter, model: Model, why: str, now_ms: int) -> Adapter:
    """It can't be sent until somebody does something: an error, with what to do."""
    if row.status is AdapterStatus.ERRORED and row.last_error == why and row.version == model.version:
        return row
    return _changed(
        _noted(row, ""),
        now_ms,
        version=model.version,
        digest=model.digest,
        pointer=None,
        status=AdapterStatus.ERRORED,
        next_attempt_at_ms=None,
        last_error=why,
        last_error_at_ms=now_ms,
    )


def _ahead(row: Adapter, epoch: int) -> str:
    seen = Memo.of(row).seen
    return (
        f"it says that it has taken a pointer of {seen}; the trainer is at epoch {epoch}: was the state restored? "
        "upm sync run --lower-epoch --reason '…' lets it step down"
    )


def _noted(row: Adapter, note: str) -> Adapter:
    return row if Memo.of(row).note == note else remember(row, note=note)


def _changed(row: Adapter, now_ms: int, **changes: Any) -> Adapter:
    """Return `row` with the changes, and the time of them if there are any."""
    if all(getattr(row, name) == value for name, value in changes.items()):
        return row
    return replace(row, **changes, updated_at_ms=now_ms)

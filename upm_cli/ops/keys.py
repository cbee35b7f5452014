"""The keys of a project: made, rotated, revoked, and handed out to agents.

Files first, then the record: once `keys.json` is replaced the change has happened, whatever becomes of the process.
A verb that was cut short after that is finished by calling it again; what tells it is that the ledger has no entry.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.delivery.keyring import Key, Keyring, KeyState, without
from upm_cli.core.delivery.trust import Trust
from upm_cli.errors import BusyError, IntegrityError, RefusedError, UsageError
from upm_cli.ops import audit, authority
from upm_cli.ops.key_files import (
    Entropy,
    can_sign,
    find,
    need_reason,
    public_text,
    read_to_change,
    ready,
    signing_key,
    switch,
    tidy,
)
from upm_cli.ops.key_reach import divided, every, ids, left_unsigned, reachable
from upm_cli.ops.signer import Signer, signer
from upm_cli.ops.snapshot_signing import must_sign, no_key, prove, put_signatures
from upm_cli.store import keys

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

__all__ = ["Changed", "Signer", "find", "init", "prepare", "revoke", "rotate", "signer", "trust"]

MADE: Final = ("keys.init", "keys.rotate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a verb did to the keys, or would do. Snapshots are named by their ids (main@42)."""

    keyid: str | None  # the key it is about; None: one that a dry run did not make
    before: str | None = None  # the key that signed until now
    is_done: bool = False  # it was so before: nothing changed
    is_resumed: bool = False  # it had been cut short before it was on the record
    signed: tuple[str, ...] = ()
    damaged: tuple[IntegrityError, ...] = ()  # not signed: the bytes are not what was written
    unsigned: tuple[str, ...] = ()  # that it leaves without a signature that counts
    serving: tuple[str, ...] = ()  # those of them that tenants get


def init(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    *,
    actor: str,
    reason: str = "",
    sign_existing: bool = True,
    dry_run: bool = False,
    entropy: Entropy = os.urandom,
) -> Changed:
    """Make the first signing key and sign every snapshot whose bytes are right. Raises RefusedError, UsageError."""
    authority.require(settings, store.home, actor, "keys.init")
    ring = keys.read(store.home)
    is_begun = ring.signing is not None
    if ring.signing is not None and _is_recorded(store, ring.signing.keyid, *MADE):
        tidy(store.home, ring)
        return Changed(keyid=ring.signing.keyid, is_done=True)
    with store.read() as reader:
        rows = every(reader) if sign_existing else []
    proven = prove(store.home, rows)
    if dry_run:
        keyid = None if ring.signing is None else ring.signing.keyid
        return Changed(keyid=keyid, signed=ids(proven.among(rows)), damaged=proven.damaged, is_resumed=is_begun)
    with store.write(actor=actor) as tx:
        ring = read_to_change(store.home)
        if ring.signing is None:
            ring = switch(store.home, ready(store.home, ring, clock, entropy))
        found = must_sign(store.home)
        signed = put_signatures(tx, store.home, found, proven.among(rows))
        tx.ledger("keys.init", found.keyid, public=public_text(signing_key(ring)), signed=signed, reason=reason)
    tidy(store.home, ring)
    return Changed(keyid=found.keyid, signed=signed, damaged=proven.damaged, is_resumed=is_begun)


def prepare(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
    entropy: Entropy = os.urandom,
) -> Changed:
    """Make the key that signs after the next rotation, so that agents can be told of it first. Raises RefusedError."""
    authority.require(settings, store.home, actor, "keys.rotate")
    ring = keys.read(store.home)
    signing = signing_key(ring)
    made = ring.next
    if made is not None and can_sign(store.home, made) and _is_recorded(store, made.keyid, "keys.prepare"):
        return Changed(keyid=made.keyid, before=signing.keyid, is_done=True)
    if dry_run:
        return Changed(keyid=None, before=signing.keyid)
    with store.write(actor=actor) as tx:
        ring = ready(store.home, read_to_change(store.home), clock, entropy)
        assert ring.next is not None
        tx.ledger("keys.prepare", ring.next.keyid, before=signing.keyid, public=public_text(ring.next), reason=reason)
    return Changed(keyid=ring.next.keyid, before=signing.keyid)


def rotate(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    *,
    actor: str,
    reason: str,
    leaving: str | None = None,
    dry_run: bool = False,
    entropy: Entropy = os.urandom,
) -> Changed:
    """Let another key sign: the prepared one, or a new one. What the old one has signed still counts.

    What serves and what can be gone back to is signed anew, as far as a believed key had signed it: a rotation vouches
    for nothing new. Then the old private key is destroyed. `leaving` names the key to leave: if it does not sign any
    more there is nothing to do. Raises RefusedError, NotFoundError without
    a key, UsageError without a reason, BusyError when somebody else rotates at the same time.
    """
    authority.require(settings, store.home, actor, "keys.rotate")
    need_reason(reason, "upm keys rotate")
    ring = keys.read(store.home)
    before = signing_key(ring)
    is_begun = not _is_recorded(store, before.keyid, *MADE) and can_sign(store.home, before)
    if leaving is not None and _has_left(ring, leaving) and not is_begun:
        tidy(store.home, ring)
        return Changed(keyid=before.keyid, is_done=True)
    with store.read() as reader:
        rows, bare = divided(store.home, reachable(reader))
    proven = prove(store.home, rows)
    if dry_run:
        after = before if is_begun else ring.next
        return Changed(
            keyid=after.keyid if after else None,
            before=_left(ring, is_begun),
            is_resumed=is_begun,
            signed=ids(proven.among(rows)),
            damaged=proven.damaged,
            unsigned=ids(bare),
        )
    with store.write(actor=actor) as tx:
        ring = read_to_change(store.home)
        if ring.signing != before:
            raise _meanwhile(before)
        if not is_begun:
            ring = switch(store.home, ready(store.home, ring, clock, entropy))
        found, old = must_sign(store.home), _left(ring, True)
        signed = put_signatures(tx, store.home, found, proven.among(rows))
        told = {"before": old, "public": public_text(signing_key(ring)), "signed": signed}
        tx.ledger("keys.rotate", found.keyid, **told, reason=reason)
    tidy(store.home, ring)
    return Changed(
        keyid=found.keyid,
        before=old,
        is_resumed=is_begun,
        signed=signed,
        damaged=proven.damaged,
        unsigned=ids(bare),
    )


def revoke(
    store: "Store", clock: Clock, settings: "Settings", word: str, *, actor: str, reason: str, dry_run: bool = False
) -> Changed:
    """Let what the key `word` has signed count no more, for good. Its snapshots are unsigned until signed anew.

    Raises RefusedError for the key that signs, NotFoundError for an unknown one, UsageError without a reason.
    """
    authority.require(settings, store.home, actor, "keys.revoke")
    need_reason(reason, "upm keys revoke")
    ring = keys.read(store.home)
    key = find(ring, word)
    if key.state is KeyState.SIGNING:
        raise RefusedError(
            f"{key.keyid} is the key that signs; without another one nothing could be signed",
            hint=f"upm keys rotate --from {key.keyid} --reason …, then revoke it",
            code="UPM-E114",
        )
    is_gone = key.state is KeyState.REVOKED
    if is_gone and _is_recorded(store, key.keyid, "keys.revoke"):
        tidy(store.home, ring)
        return Changed(keyid=key.keyid, is_done=True)
    ring = ring if is_gone else without(ring, key.keyid, clock.now_ms(), reason)
    with store.read() as reader:
        unsigned, serving = left_unsigned(reader, ring, key.keyid)
    if not dry_run:
        with store.write(actor=actor) as tx:
            now = read_to_change(store.home)
            if find(now, key.keyid).state is not key.state:
                raise _meanwhile(key)
            if not is_gone:
                keys.write(store.home, without(now, key.keyid, clock.now_ms(), reason))
            tx.ledger("keys.revoke", key.keyid, was=key.state.value, unsigned=unsigned, serving=serving, reason=reason)
        tidy(store.home, keys.read(store.home))
    return Changed(keyid=key.keyid, is_resumed=is_gone, unsigned=unsigned, serving=serving)


def trust(home: Path) -> Trust:
    """Return what agents of this project are to believe. Raises NotFoundError where no key was made."""
    ring = keys.read(home)
    if not ring.keys:
        raise no_key()
    return ring.trust()


def _has_left(ring: Keyring, word: str) -> bool:
    """Say whether the key `word` has signed and does not any more. Raises UsageError for one that never signed."""
    key = find(ring, word)
    if key.state is KeyState.NEXT:
        raise UsageError(f"{key.keyid} does not sign yet", hint="upm keys list tells which one does", code="UPM-E029")
    return key.state is not KeyState.SIGNING


def _is_recorded(store: "Store", keyid: str, *actions: str) -> bool:
    return bool(audit.entries(store, actions=actions, subject=keyid))


def _left(ring: Keyring, is_switched: bool) -> str | None:
    """Return the key that signed before the switch."""
    if not is_switched:
        return None if ring.signing is None else ring.signing.keyid
    accepted = [each.keyid for each in ring.keys if each.state is KeyState.ACCEPTED]
    return accepted[-1] if accepted else None


def _meanwhile(key: Key) -> BusyError:
    return BusyError(
        f"somebody else changed the keys meanwhile: {key.keyid} is no longer what it was; nothing was changed",
        hint="look at upm keys list, then decide again",
        code="UPM-E073",
    )

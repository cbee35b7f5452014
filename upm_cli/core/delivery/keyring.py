"""The keys of a project: which one signs, which ones are believed, and which are gone for good.

    next ──▶ signing ──▶ accepted ──▶ revoked        next ──▶ revoked

`next` is handed out to agents before it signs anything, so that a rotation finds them ready. One key signs at a time.
Only what is public stands here; private halves are files of their own (store/keys.py).
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery.envelope import damaged, strict_object
from upm_cli.core.delivery.trust import Trust
from upm_cli.ids import iso

SCHEMA_VERSION: Final = 1
MAX_KEYRING_BYTES: Final = 256 << 10


class KeyState(StrEnum):
    NEXT = "next"
    SIGNING = "signing"
    ACCEPTED = "accepted"  # it signed before; what it has signed still counts
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One public key (32 raw bytes). `reason`: why it was revoked."""

    keyid: str
    public: bytes
    created_at_ms: int
    state: KeyState
    revoked_at_ms: int | None = None
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether its private half is needed: once a key has stopped signing, it is destroyed."""
        return self.state in (KeyState.NEXT, KeyState.SIGNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """All keys a project ever had, oldest first."""

    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        states = [each.state for each in self.keys]
        if len({each.keyid for each in self.keys}) != len(self.keys):
            raise ValueError("a key is listed twice")
        if states.count(KeyState.SIGNING) > 1 or states.count(KeyState.NEXT) > 1:
            raise ValueError("more than one key signs, or is to sign next")
        if any((each.state is KeyState.REVOKED) != (each.revoked_at_ms is not None) for each in self.keys):
            raise ValueError("a key is revoked without a time, or has one without being revoked")

    @property
    def signing(self) -> Key | None:
        return self._only(KeyState.SIGNING)

    @property
    def next(self) -> Key | None:
        return self._only(KeyState.NEXT)

    @property
    def believed(self) -> tuple[Key, ...]:
        return tuple(each for each in self.keys if each.state is not KeyState.REVOKED)

    def find(self, keyid: str) -> Key | None:
        return next((each for each in self.keys if each.keyid == keyid), None)

    def trust(self) -> Trust:
        """Return what agents are to believe: the trust file."""
        return self._trust(self.believed)

    def known(self) -> Trust:
        """Return the same with the public keys of the revoked: for who has to tell what they have signed."""
        return self._trust(self.keys)

    def _only(self, state: KeyState) -> Key | None:
        return next((each for each in self.keys if each.state is state), None)

    def _trust(self, keys: tuple[Key, ...]) -> Trust:
        gone = {each.keyid: each for each in self.keys if each.revoked_at_ms is not None}
        return Trust(
            keys={each.keyid: each.public for each in keys},
            revoked=frozenset(gone),
            created_at={each.keyid: iso(each.created_at_ms) for each in keys},
            reasons={
                keyid: {"revoked_at": iso(each.revoked_at_ms or 0), "reason": each.reason}
                for keyid, each in gone.items()
            },
        )


def with_next(ring: Keyring, keyid: str, public: bytes, now_ms: int) -> Keyring:
    """Return `ring` with a new key that is to sign next. Raises ValueError when there is one."""
    fresh = Key(keyid=keyid, public=public, created_at_ms=now_ms, state=KeyState.NEXT)
    return Keyring(keys=(*ring.keys, fresh))


def switched(ring: Keyring) -> Keyring:
    """Return `ring` with the next key signing, and the one that signed so far accepted."""
    if ring.next is None:
        raise ValueError("there is no key that is to sign next")
    after = {KeyState.NEXT: KeyState.SIGNING, KeyState.SIGNING: KeyState.ACCEPTED}
    return Keyring(keys=tuple(replace(each, state=after.get(each.state, each.state)) for each in ring.keys))


def without(ring: Keyring, keyid: str, now_ms: int, reason: str) -> Keyring:
    """Return `ring` with a key revoked. Raises ValueError for the key that signs, and for one that is revoked."""
    found = ring.find(keyid)
    if found is None or found.state in (KeyState.SIGNING, KeyState.REVOKED):
        raise ValueError(f"{keyid} can't be revoked: it is {found.state if found else 'not known'}")
    gone = replace(found, state=KeyState.REVOKED, revoked_at_ms=now_ms, reason=reason)
    return Keyring(keys=tuple(gone if each is found else each for each in ring.keys))


def encode(ring: Keyring) -> bytes:
    """Return the keyring as one line of canonical JSON."""
    plain = {"schema_version": SCHEMA_VERSION, "keys": [_plain(each) for each in ring.keys]}
    return canonical_json(plain).encode() + b"\n"


def decode(data: bytes, key_id: Callable[[bytes], str]) -> Keyring:
    """Return the keyring that `encode` made `data` of. `key_id` gives the id of a public key. Raises IntegrityError."""
    plain = strict_object(data, "the list of keys", MAX_KEYRING_BYTES)
    if plain.get("schema_version") != SCHEMA_VERSION:
        raise damaged(f"the list of keys has schema {plain.get('schema_version')!r}; this upm reads {SCHEMA_VERSION}")
    try:
        ring = Keyring(keys=tuple(_key(each, key_id) for each in plain["keys"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise damaged(f"the list of keys can't be read: {exc}") from exc
    if encode(ring) != data:
        raise damaged("the list of keys is not as upm writes it")
    return ring


def _plain(key: Key) -> dict[str, Any]:
    return {
        "keyid": key.keyid,
        "public": base64.b64encode(key.public).decode(),
        "created_at": iso(key.created_at_ms),
        "state": key.state.value,
        "revoked_at": None if key.revoked_at_ms is None else iso(key.revoked_at_ms),
        "reason": key.reason,
    }


def _key(plain: Mapping[str, Any], key_id: Callable[[bytes], str]) -> Key:
    public = base64.b64decode(plain["public"], validate=True)
    if key_id(public) != plain["keyid"]:
        raise ValueError(f"{str(plain['keyid'])[:40]!r} is not the id of its key")
    return Key(
        keyid=plain["keyid"],
        public=public,
        created_at_ms=_ms(plain["created_at"]),
        state=KeyState(plain["state"]),
        revoked_at_ms=None if plain["revoked_at"] is None else _ms(plain["revoked_at"]),
        reason=_text(plain["reason"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)

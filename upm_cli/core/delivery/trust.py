"""Which keys are believed: the trust file that a person gives to agents, and who of them signed an envelope.

    {"schema_version": 1, "keys": [{"keyid", "public", "created_at"}], "revoked": [{"keyid", "revoked_at", "reason"}]}

A revoked key stays in the list of the revoked, so that whoever remembers it knows it is gone for good.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.delivery.envelope import Envelope, damaged, strict_object

MAX_TRUST_BYTES: Final = 256 << 10
SCHEMA_VERSION: Final = 1

Verify = Callable[[bytes, bytes, bytes], bool]  # (public, signature, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Public keys (32 raw bytes) that are believed, by id, and the ids of those that are not any more."""

    keys: Mapping[str, bytes]
    revoked: frozenset[str] = frozenset()
    created_at: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of the revoked: revoked_at, reason

    def believes(self, keyid: str) -> bool:
        """Say whether what the key `keyid` signs is believed."""
        return keyid in self.keys and keyid not in self.revoked

    def to_json(self) -> dict[str, Any]:
        """Return the trust file as plain values, keys in the order of their ids."""
        return {
            "schema_version": SCHEMA_VERSION,
            "keys": [
                {
                    "keyid": keyid,
                    "public": base64.b64encode(self.keys[keyid]).decode(),
                    "created_at": self.created_at.get(keyid, ""),
                }
                for keyid in sorted(self.keys)
            ],
            "revoked": [
                {"keyid": keyid, "revoked_at": "", "reason": "", **self.reasons.get(keyid, {})}
                for keyid in sorted(self.revoked)
            ],
        }


def read_trust(data: bytes, key_id: Callable[[bytes], str]) -> Trust:
    """Return the trust in a trust file. `key_id` gives the id of a public key.

    Raises IntegrityError when it is no trust file, or names a key by an id that is not its own.
    """
    plain = strict_object(data, "the trust file", MAX_TRUST_BYTES)
    if plain.get("schema_version") != SCHEMA_VERSION:
        raise damaged(f"the trust file has schema {plain.get('schema_version')!r}; this upm reads {SCHEMA_VERSION}")
    keys: dict[str, bytes] = {}
    created: dict[str, str] = {}
    reasons: dict[str, Mapping[str, str]] = {}
    try:
        for each in plain["keys"]:
            public = base64.b64decode(each["public"], validate=True)
            if len(public) != 32 or key_id(public) != each["keyid"]:
                raise ValueError(f"{str(each['keyid'])[:40]!r} is not the id of its key")
            keys[each["keyid"]], created[each["keyid"]] = public, str(each.get("created_at", ""))
        for each in plain["revoked"]:
            reasons[str(each["keyid"])] = {name: str(each.get(name, "")) for name in ("revoked_at", "reason")}
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as exc:
        raise damaged(f"the trust file can't be read: {exc}") from exc
    return Trust(keys=keys, revoked=frozenset(reasons), created_at=created, reasons=reasons)


def signer(envelope: Envelope, trust: Trust, verify: Verify) -> str | None:
    """Return the id of the first believed key that signed `envelope`, or None when none did."""
    message = envelope.signed_bytes()
    for signature in envelope.signatures:
        if trust.believes(signature.keyid) and verify(trust.keys[signature.keyid], signature.sig, message):
            return signature.keyid
    return None

"""Signed envelopes in the form of DSSE v1 (Dead Simple Signing Envelope), which other tools can verify too.

    {"payload": base64, "payloadType": text, "signatures": [{"keyid": text, "sig": base64}, …]}

What is signed is PAE(payloadType, payload) = "DSSEv1" SP len(type) SP type SP len(payload) SP payload, lengths in
bytes as decimal ASCII. An envelope may carry no signature: whoever trusts keys refuses it then.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from upm_cli.core.canonical import canonical_json
from upm_cli.errors import IntegrityError

MAX_ENVELOPE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key that made it."""

    keyid: str
    sig: bytes

    def to_json(self) -> dict[str, str]:
        return {"keyid": self.keyid, "sig": base64.b64encode(self.sig).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload of some type with its signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    def signed_bytes(self) -> bytes:
        """Return what the signatures are over: PAE(payload_type, payload)."""
        return pae(self.payload_type, self.payload)

    def encode(self) -> bytes:
        """Return the envelope as canonical JSON."""
        plain = {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [each.to_json() for each in self.signatures],
        }
        return canonical_json(plain).encode()


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding of the DSSE specification."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def decode(data: bytes, payload_type: str) -> Envelope:
    """Return the envelope in `data`. Raises IntegrityError when it is none, or of another type than asked for."""
    plain = strict_object(data, "the envelope", MAX_ENVELOPE_BYTES)
    if plain.keys() != {"payload", "payloadType", "signatures"}:
        raise damaged("the envelope has other fields than payload, payloadType and signatures")
    if plain["payloadType"] != payload_type:
        raise damaged(f"the envelope holds {plain['payloadType']!r}, not {payload_type!r}")
    if not isinstance(plain["signatures"], list) or len(plain["signatures"]) > MAX_SIGNATURES:
        raise damaged(f"the envelope has no list of at most {MAX_SIGNATURES} signatures")
    signatures = tuple(signature_from(each) for each in plain["signatures"])
    return Envelope(payload_type=payload_type, payload=_bytes(plain["payload"], "payload"), signatures=signatures)


def signature_from(plain: Any) -> Signature:
    """Return the signature that `to_json` made `plain` of. Raises IntegrityError."""
    if not isinstance(plain, dict) or plain.keys() != {"keyid", "sig"} or not isinstance(plain["keyid"], str):
        raise damaged("a signature has other fields than keyid and sig")
    return Signature(plain["keyid"], _bytes(plain["sig"], "sig"))


def strict_object(data: bytes, what: str, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object that `data` is: UTF-8, no key twice, no NaN, not too large. Raises IntegrityError."""
    if len(data) > max_bytes:
        raise damaged(f"{what} has {len(data):,} bytes; {max_bytes:,} are the most")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise damaged(f"{what} is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise damaged(f"{what} is not a JSON object")
    return value


def damaged(why: str) -> IntegrityError:
    """Return the error for something handed over that can't be what was sent."""
    return IntegrityError(why, hint="what is in use stays in use; send it again: upm sync run", code="UPM-E111")


def _bytes(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise damaged(f"{what} of the envelope is not base64") from exc


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")

"""Envelopes: what another implementation of DSSE says of ours, and what is refused."""

import base64
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from upm_cli import ed25519
from upm_cli.core.delivery.envelope import MAX_ENVELOPE_BYTES, Envelope, Signature, decode, pae, strict_object
from upm_cli.core.delivery.trust import Trust, signer
from upm_cli.errors import IntegrityError
from upm_cli.testing import key_of

KIND = "application/vnd.example+json"
SEED = key_of("ours")
PUBLIC = ed25519.public_of(SEED)
KEYID = ed25519.key_id(PUBLIC)


def signed(payload: bytes = b'{"a":1}', kind: str = KIND, *seeds: bytes) -> Envelope:
    bare = Envelope(payload_type=kind, payload=payload)
    signatures = [
        Signature(ed25519.key_id(ed25519.public_of(seed)), ed25519.sign(seed, bare.signed_bytes()))
        for seed in seeds or (SEED,)
    ]
    return Envelope(payload_type=kind, payload=payload, signatures=tuple(signatures))


def other_key(seed: bytes) -> SSlibKey:
    public = ed25519.public_of(seed)
    return SSlibKey(ed25519.key_id(public), "ed25519", "ed25519", {"public": public.hex()})


@pytest.mark.parametrize("payload", [b"", b"{}", "é\0".encode(), bytes(range(256))])
@pytest.mark.parametrize("kind", ["", KIND, "text/é"])
def test_what_is_signed_is_what_another_implementation_signs(payload: bytes, kind: str) -> None:
    assert pae(kind, payload) == OtherEnvelope(payload, kind, {}).pae()


def test_another_implementation_verifies_our_envelopes() -> None:
    made = OtherEnvelope.from_dict(json.loads(signed().encode()))
    assert made.payload == b'{"a":1}'
    assert list(made.verify([other_key(SEED)], 1)) == [KEYID]
    with pytest.raises(VerificationError):
        made.verify([other_key(key_of("theirs"))], 1)


def test_we_verify_the_envelopes_of_another_implementation() -> None:
    theirs = OtherEnvelope.from_dict(json.loads(signed(b"x", KIND, key_of("theirs"), SEED).encode()))
    ours = decode(json.dumps(theirs.to_dict()).encode(), KIND)
    trust = Trust(keys={KEYID: PUBLIC})
    assert signer(ours, trust, ed25519.verify) == KEYID


def test_an_envelope_comes_back_as_it_was_encoded() -> None:
    made = signed(b"\xff\x00", KIND, SEED, key_of("b"))
    assert decode(made.encode(), KIND) == made


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(signed().encode()), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"payload":NaN}', "no JSON number"),
        (b"1" * 5000, "not JSON"),
        (b" " * (MAX_ENVELOPE_BYTES + 1), "are the most"),
        (changed(more=1), "other fields"),
        (changed(payload=1), "not base64"),
        (changed(payload="*"), "not base64"),
        (changed(payload="é"), "not base64"),
        (changed(payloadType="text/plain"), "holds 'text/plain'"),
        (changed(signatures={}), "no list"),
        (changed(signatures=[{"keyid": "a", "sig": ""}] * 17), "at most 16"),
        (changed(signatures=[{"keyid": "a"}]), "other fields"),
        (changed(signatures=[{"keyid": 1, "sig": ""}]), "other fields"),
        (changed(signatures=["a"]), "other fields"),
        (changed(signatures=[{"keyid": "a", "sig": "!"}]), "not base64"),
        (signed().encode().replace(b'"payload":', b'"payload":"","payload":'), "occurs twice"),
        (signed().encode().replace(b'"keyid":', b'"keyid":"","keyid":'), "occurs twice"),
    ],
)
def test_what_is_no_envelope_is_refused_and_says_why(data: bytes, why: str) -> None:
    with pytest.raises(IntegrityError, match=why) as caught:
        decode(data, KIND)
    assert caught.value.code == "UPM-E111"


def test_a_signature_over_another_type_or_payload_is_none() -> None:
    trust = Trust(keys={KEYID: PUBLIC})
    good = signed()
    for payload, kind in ((b'{"a":2}', KIND), (good.payload, "text/plain")):
        moved = Envelope(payload_type=kind, payload=payload, signatures=good.signatures)
        assert signer(moved, trust, ed25519.verify) is None
    assert signer(Envelope(payload_type=KIND, payload=b""), trust, ed25519.verify) is None


def test_only_believed_keys_count() -> None:
    both = signed(b"x", KIND, key_of("theirs"), SEED)
    theirs = ed25519.public_of(key_of("theirs"))
    keys = {KEYID: PUBLIC, ed25519.key_id(theirs): theirs}
    assert signer(both, Trust(keys=keys), ed25519.verify) == ed25519.key_id(theirs)
    assert signer(both, Trust(keys=keys, revoked=frozenset({ed25519.key_id(theirs)})), ed25519.verify) == KEYID
    assert signer(both, Trust(keys=keys, revoked=frozenset(keys)), ed25519.verify) is None
    assert signer(both, Trust(keys={KEYID: theirs}), ed25519.verify) is None, "its id, but another key"


def test_a_strict_object_is_what_json_says() -> None:
    assert strict_object('{"a": [1, "é"]}'.encode(), "it", 100) == {"a": [1, "é"]}
    assert base64.b64decode(json.loads(signed().encode())["payload"]) == b'{"a":1}'

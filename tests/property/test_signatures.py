"""Whatever is signed verifies, whatever is changed does not, and a list of keys never believes what was revoked."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from securesystemslib.dsse import Envelope as OtherEnvelope

from upm_cli import ed25519
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import envelope as dsse
from upm_cli.core.delivery import keyring, pem
from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.core.delivery.keyring import Keyring, KeyState, switched, with_next, without
from upm_cli.core.delivery.signed import judge
from upm_cli.core.delivery.trust import Trust, read_trust
from upm_cli.core.signatures import SignatureState
from upm_cli.errors import IntegrityError
from upm_cli.ids import iso
from upm_cli.ops.signer import Signer

KIND = "application/vnd.in-toto+json"
seeds = st.binary(min_size=32, max_size=32)
payloads = st.binary(max_size=200)


def signer_of(seed: bytes) -> tuple[Signer, bytes]:
    public = ed25519.public_of(seed)
    return Signer(ed25519.key_id(public), seed), public


def sealed(seed: bytes, payload: bytes) -> tuple[Envelope, Trust]:
    """Return `payload` signed with `seed`, and who believes that key."""
    signer, public = signer_of(seed)
    bare = Envelope(payload_type=KIND, payload=payload)
    return replace(bare, signatures=(signer.sign(bare),)), Trust(keys={signer.keyid: public})


@given(seeds, payloads)
@settings(max_examples=50)
def test_what_was_signed_verifies_after_a_trip_through_json(seed: bytes, payload: bytes) -> None:
    made, trust = sealed(seed, payload)
    found = judge(dsse.decode(made.encode(), KIND), trust, ed25519.verify)
    assert (found.state, found.keyid, found.wrong) == (SignatureState.SIGNED, made.signatures[0].keyid, ())
    assert OtherEnvelope.from_dict(json.loads(made.encode())).pae() == made.signed_bytes()
    assert pem.seed_of(pem.private_pem(seed)) == seed


@given(seeds, payloads, st.integers(min_value=0), st.sampled_from(["payload", "signature", "type"]))
@settings(max_examples=50)
def test_one_flipped_bit_anywhere_is_noticed(seed: bytes, payload: bytes, bit: int, where: str) -> None:
    made, trust = sealed(seed, payload or b"x")
    (signature,) = made.signatures
    if where == "payload":
        bad = replace(made, payload=flipped(made.payload, bit))
    elif where == "signature":
        bad = replace(made, signatures=(replace(signature, sig=flipped(signature.sig, bit)),))
    else:
        bad = replace(made, payload_type=f"{KIND}x")
    found = judge(bad, trust, ed25519.verify)
    assert (found.state, found.by, found.wrong) == (SignatureState.INVALID, (), (signature.keyid,))


def flipped(data: bytes, bit: int) -> bytes:
    at = bit % (len(data) * 8)
    changed = bytearray(data)
    changed[at // 8] ^= 1 << (at % 8)
    return bytes(changed)


@given(st.permutations(["good", "revoked", "unknown", "wrong"]), st.sets(st.sampled_from(["good", "revoked", "wrong"])))
@settings(max_examples=50)
def test_one_believed_signature_is_enough_wherever_it_stands(order: list[str], left_out: set[str]) -> None:
    makers = {name: signer_of(bytes([n]) * 32) for n, name in enumerate(["good", "revoked", "unknown", "wrong"])}
    bare = Envelope(payload_type=KIND, payload=b"{}")
    found: list[Signature] = []
    for name in order:
        signer, _ = makers[name]
        signature = signer.sign(bare)
        if name not in left_out:
            found.append(replace(signature, sig=flipped(signature.sig, 9)) if name == "wrong" else signature)
    known = {signer.keyid: public for name, (signer, public) in makers.items() if name != "unknown"}
    trust = Trust(keys=known, revoked=frozenset({makers["revoked"][0].keyid}))
    judged = judge(replace(bare, signatures=tuple(found)), trust, ed25519.verify)
    best = next(name for name in ("good", "wrong", "revoked", "unknown") if name not in left_out)
    states = {"good": "signed", "wrong": "invalid", "revoked": "revoked", "unknown": "unknown"}
    assert (judged.state.value, judged.keyid) == (states[best], makers[best][0].keyid)
    assert judged.wrong == (() if "wrong" in left_out else (makers["wrong"][0].keyid,))
    assert judged.by == (() if "good" in left_out else (makers["good"][0].keyid,))


PUBLIC = {ed25519.key_id(bytes([n]) * 32): bytes([n]) * 32 for n in range(1, 4)}
GONE = sorted(PUBLIC)[0]
FILE = Trust(
    keys={keyid: public for keyid, public in PUBLIC.items() if keyid != GONE},
    revoked=frozenset({GONE}),
    created_at=dict.fromkeys(PUBLIC, iso(0)),
    reasons={GONE: {"revoked_at": iso(1), "reason": "lost"}},
)
WORDS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1e300, "", "AAAA", "\ud800", "é", [], {}, [[]], [None], [{}], [{"keyid": 1}], *PUBLIC]
)


@given(st.data())
@settings(max_examples=150)
def test_a_trust_file_with_other_values_in_it_is_refused_or_believes_no_other_key(data: st.DataObject) -> None:
    plain = json.loads(canonical_json(FILE.to_json()))
    spots = list(places(plain))
    spot, key = data.draw(st.sampled_from(spots))
    if data.draw(st.booleans()):
        spot[key] = data.draw(WORDS)
    else:
        del spot[key]
    check_read(json.dumps(plain).encode())


@given(st.binary(max_size=3), st.integers(min_value=0), st.integers(min_value=0, max_value=3))
@settings(max_examples=150)
def test_a_trust_file_with_other_bytes_in_it_is_refused_or_believes_no_other_key(put: bytes, at: int, cut: int) -> None:
    whole = canonical_json(FILE.to_json()).encode()
    at %= len(whole) + 1
    check_read(whole[:at] + put + whole[at + cut :])


def places(plain: Any) -> Any:
    """Yield (container, key) of every value in `plain`."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield plain, key
        yield from places(value)


def check_read(data: bytes) -> None:
    try:
        found = read_trust(data, ed25519.key_id)
    except IntegrityError as exc:
        assert exc.code == "UPM-E111"
        return
    for keyid, public in found.keys.items():
        assert PUBLIC[keyid] == public
        assert found.believes(keyid) is (keyid not in found.revoked)
    assert set(found.revoked) <= set(found.reasons)


def test_no_signature_at_all_is_none() -> None:
    assert judge(Envelope(payload_type=KIND, payload=b"{}"), FILE, ed25519.verify).state is SignatureState.UNSIGNED


class KeysOverTime(RuleBasedStateMachine):
    """People make, rotate and revoke keys in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Keyring()
        self.made = 0
        self.gone: set[str] = set()

    @precondition(lambda self: self.ring.next is None)
    @rule()
    def make(self) -> None:
        self.made += 1
        public = self.made.to_bytes(32, "big")
        self.ring = with_next(self.ring, ed25519.key_id(public), public, self.made)

    @precondition(lambda self: self.ring.next is not None)
    @rule()
    def switch(self) -> None:
        before, coming = self.ring.signing, self.ring.next
        self.ring = switched(self.ring)
        assert self.ring.signing is not None
        assert coming is not None
        assert self.ring.signing.keyid == coming.keyid
        if before is not None:
            after = self.ring.find(before.keyid)
            assert after is not None
            assert after.state is KeyState.ACCEPTED

    @rule(which=st.integers(min_value=0, max_value=20))
    def revoke(self, which: int) -> None:
        fit = [each.keyid for each in self.ring.keys if each.state in (KeyState.NEXT, KeyState.ACCEPTED)]
        if fit:
            keyid = fit[which % len(fit)]
            self.ring = without(self.ring, keyid, 5, "why\n\u2028")
            self.gone.add(keyid)

    @invariant()
    def is_sound(self) -> None:
        assert keyring.decode(keyring.encode(self.ring), ed25519.key_id) == self.ring
        trust = self.ring.trust()
        assert not self.gone & set(trust.keys)
        assert self.gone == set(trust.revoked)
        assert len(self.ring.keys) == self.made
        assert sum(each.is_kept for each in self.ring.keys) <= 2
        again = read_trust(canonical_json(trust.to_json()).encode(), ed25519.key_id)
        assert again.to_json() == trust.to_json()


TestKeysOverTime = KeysOverTime.TestCase
TestKeysOverTime.settings = settings(max_examples=25, stateful_step_count=15)

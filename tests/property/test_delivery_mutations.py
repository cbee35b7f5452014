"""Envelopes and pointers that somebody changed: refused, or nothing that counts is different."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli import ed25519
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import memory, pointer
from upm_cli.core.delivery.envelope import decode
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.delivery.ratchet import Seen
from upm_cli.core.delivery.trust import Trust, read_trust, signer
from upm_cli.errors import IntegrityError
from upm_cli.testing import Publisher, key_of

SEED = key_of("a")
PUBLIC = ed25519.public_of(SEED)
TRUST = Trust(keys={ed25519.key_id(PUBLIC): PUBLIC})
POINTER = Pointer(
    trainer="main",
    tenant="acmé",
    version=42,
    digest="ab" * 32,
    ring="global",
    place=Place(12, 345),
    kind="activate",
    decision_id="d",
    issued_at_ms=1_764_000_000_000,
    expires_at_ms=1_764_600_000_000,
    model=ModelFile(codec="zstd", size_bytes=10, raw_bytes=20, file_digest="cd" * 32),
    lowers_from=Place(13, 0),
)


def sealed() -> bytes:
    return Publisher(None, seeds=(SEED,)).sealed(POINTER)  # type: ignore[arg-type]  # nothing is put anywhere


ENVELOPE = sealed()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spliced(draw: Any, data: bytes) -> bytes:
    """Return `data` with a piece of it cut out, doubled, or replaced by anything."""
    first = draw(st.integers(0, len(data)))
    last = draw(st.integers(first, min(len(data), first + 40)))
    between = draw(st.one_of(st.binary(max_size=8), st.just(data[first:last] * 2), st.just(b"")))
    return data[:first] + between + data[last:]


@st.composite
def altered(draw: Any, data: bytes) -> bytes:
    """Return the JSON object in `data` with one of its values, or one inside, replaced by anything, or left out."""
    plain = json.loads(data)
    at = plain
    key = draw(st.sampled_from(sorted(at)))
    while isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
        at = at[key]
        key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
    if draw(st.booleans()):
        at[key] = draw(values)
    else:
        del at[key]
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=draw(st.booleans()), sort_keys=True).encode(
        errors="surrogatepass"
    )


@given(st.one_of(spliced(ENVELOPE), altered(ENVELOPE)))
@settings(max_examples=400, deadline=None)
def test_a_changed_envelope_is_refused_or_says_the_same_by_the_same_key(data: bytes) -> None:
    try:
        found = decode(data, pointer.PAYLOAD_TYPE)
    except IntegrityError:
        return
    if signer(found, TRUST, ed25519.verify) is not None:
        assert pointer.decode(found.payload) == POINTER


@given(st.one_of(spliced(POINTER.encode()), altered(POINTER.encode())))
@settings(max_examples=400, deadline=None)
def test_a_changed_pointer_is_refused_or_is_what_it_says(payload: bytes) -> None:
    try:
        found = pointer.decode(payload)
    except IntegrityError:
        return
    assert found.encode() == payload
    assert 1 <= found.version < 1 << 63
    assert found.model.raw_bytes <= pointer.MAX_MODEL_BYTES


SEEN = memory.encode(Seen(place=Place(3, 4), digest="ab" * 32, issued_at_ms=5, keyid="k"), "main", "")


@given(st.one_of(spliced(SEEN), altered(SEEN)))
@settings(max_examples=200, deadline=None)
def test_a_changed_memory_is_refused_or_the_same(data: bytes) -> None:
    try:
        found = memory.decode(data, "main", "")
    except IntegrityError:
        return
    assert found == memory.decode(SEEN, "main", "")


FILE = canonical_json(TRUST.to_json()).encode()


@given(st.one_of(spliced(FILE), altered(FILE)))
@settings(max_examples=200, deadline=None)
def test_a_changed_trust_file_is_refused_or_names_keys_by_their_own_ids(data: bytes) -> None:
    try:
        found = read_trust(data, ed25519.key_id)
    except IntegrityError:
        return
    assert all(ed25519.key_id(public) == keyid for keyid, public in found.keys.items())

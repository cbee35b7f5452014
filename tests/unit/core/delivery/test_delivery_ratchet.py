"""The ratchet: against a slow, obvious model of it, and against whoever sends old pointers again."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.delivery import memory
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.delivery.ratchet import REFUSED, Seen, Took, after, decide
from upm_cli.core.delivery.trust import Trust
from upm_cli.errors import IntegrityError

MODEL = ModelFile(codec="none", size_bytes=1, raw_bytes=1, file_digest="0" * 64)
TRUST = Trust(keys={"good": b"", "gone": b""}, revoked=frozenset({"gone"}))

small = st.integers(0, 3)
place_strategy = st.builds(Place, small, small)
digests = st.sampled_from(["a" * 64, "b" * 64])


def pointer(place: Place, digest: str = "a" * 64, **more: object) -> Pointer:
    made = Pointer(
        trainer="main",
        tenant="",
        version=1,
        digest=digest,
        ring="global",
        place=place,
        kind="activate",
        decision_id="",
        issued_at_ms=0,
        expires_at_ms=None,
        model=MODEL,
    )
    return replace(made, **more)  # type: ignore[arg-type]


pointers = st.builds(
    lambda place, digest, issued, expires, lowers: pointer(
        place, digest, issued_at_ms=issued, expires_at_ms=expires, lowers_from=lowers
    ),
    place_strategy,
    digests,
    small,
    st.none() | small,
    st.none() | place_strategy,
)
memories = st.none() | st.builds(
    Seen,
    place=place_strategy,
    digest=digests,
    issued_at_ms=small,
    keyid=st.sampled_from([None, "good", "gone", "never"]),
    stepped_from=st.none() | place_strategy,
    stepped_at_ms=small,
)


def obvious(sent: Pointer, seen: Seen | None, trust: Trust | None, now_ms: int) -> bool:
    """Say whether the pointer is taken, as the reference tells it in words, rule by rule."""
    new = sent.place.epoch * 1000 + sent.place.serial
    if seen is None:
        return sent.expires_at_ms is None or sent.expires_at_ms > now_ms
    old = seen.place.epoch * 1000 + seen.place.serial
    if new == old and sent.digest == seen.digest:
        return True
    if sent.expires_at_ms is not None and sent.expires_at_ms <= now_ms:
        return False
    top = None if seen.stepped_from is None else seen.stepped_from.epoch * 1000 + seen.stepped_from.serial
    is_kept_from_before = top is not None and new <= top and sent.issued_at_ms <= seen.stepped_at_ms
    if new > old and not is_kept_from_before:
        return True
    key_is_lost = (
        trust is not None and seen.keyid is not None and (seen.keyid not in trust.keys or seen.keyid in trust.revoked)
    )
    if key_is_lost:
        return True
    if sent.lowers_from is None or new >= old:
        return False
    lowers = sent.lowers_from.epoch * 1000 + sent.lowers_from.serial
    return lowers >= old and sent.issued_at_ms > seen.issued_at_ms


@given(pointers, memories, st.sampled_from([None, TRUST]), small)
@settings(max_examples=500)
def test_it_takes_what_the_obvious_rules_take(
    sent: Pointer, seen: Seen | None, trust: Trust | None, now_ms: int
) -> None:
    assert (decide(sent, seen, trust, now_ms) not in REFUSED) == obvious(sent, seen, trust, now_ms)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=14))
@settings(max_examples=200)
def test_every_pointer_by_the_rules_is_taken_and_none_is_taken_twice(moves: list[tuple[int, bool]]) -> None:
    """A control plane goes up and down as it likes, and a thief keeps all that it ever sent."""
    at, highest, seen, sent = 10, 10, None, []
    for now_ms, (step, bump) in enumerate(moves, 1):
        before, at = at, max(0, at + step) if step < 0 else at + step + 1
        new = pointer(
            Place(at, now_ms if bump or at == before else 0),
            f"{now_ms:064x}",
            issued_at_ms=now_ms,
            lowers_from=Place(highest, 99) if at <= before else None,
        )
        highest = max(highest, at)
        took = decide(new, seen, None, now_ms)
        assert took in (Took.NEWER, Took.LOWERED)
        seen = after(new, seen, took, None)
        for old in sent:
            assert decide(old, seen, None, now_ms) in (Took.OLDER, Took.FORKED)
        assert decide(new, seen, None, now_ms) is Took.SAME
        assert after(new, seen, Took.SAME, None) == seen
        sent.append(new)


def test_what_was_passed_counts_again_once_the_agent_is_above_it() -> None:
    high = Seen(place=Place(9, 0), digest="a" * 64, issued_at_ms=90)
    down = pointer(Place(3, 0), "b" * 64, issued_at_ms=100, lowers_from=Place(9, 0))
    low = after(down, high, decide(down, high, None, 0), "k")
    assert low == Seen(
        place=Place(3, 0), digest="b" * 64, issued_at_ms=100, keyid="k", stepped_from=Place(9, 0), stepped_at_ms=100
    )
    kept = pointer(Place(8, 0), "c" * 64, issued_at_ms=80)
    assert decide(kept, low, None, 0) is Took.OLDER
    assert decide(replace(kept, issued_at_ms=101), low, None, 0) is Took.NEWER
    above = pointer(Place(10, 0), "d" * 64, issued_at_ms=1)
    assert decide(above, low, None, 0) is Took.NEWER, "above all that was ever sent, clocks do not matter"
    assert after(above, low, Took.NEWER, None).stepped_from is None
    assert after(pointer(Place(1, 0)), low, Took.RESET, None).stepped_from is None


def test_a_thief_who_went_far_ahead_is_forgotten_with_his_key() -> None:
    far = Seen(place=Place(2**60, 2**60), digest="f" * 64, issued_at_ms=10**13, keyid="gone")
    honest = pointer(Place(5, 5))
    assert decide(honest, far, None, 0) is Took.OLDER
    assert decide(honest, replace(far, keyid="good"), TRUST, 0) is Took.OLDER
    assert decide(honest, far, TRUST, 0) is Took.RESET
    assert decide(replace(honest, expires_at_ms=0), far, TRUST, 0) is Took.EXPIRED


def test_a_memory_comes_back_as_it_was_kept_and_no_other_bytes_are_one() -> None:
    seen = Seen(place=Place(2**60, 3), digest="ab" * 32, issued_at_ms=1, keyid="k")
    data = memory.encode(seen, "main", "acmé")
    assert memory.decode(data, "main", "acmé") == seen
    down = replace(seen, keyid=None, stepped_from=Place(7, 8), stepped_at_ms=9)
    assert memory.decode(memory.encode(down, "m", ""), "m", "") == down
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            memory.decode(bytes(broken), "main", "acmé")
    for end in range(len(data)):
        with pytest.raises(IntegrityError):
            memory.decode(data[:end], "main", "acmé")
    for trainer, tenant in (("other", "acmé"), ("main", "")):
        with pytest.raises(IntegrityError):
            memory.decode(data, trainer, tenant)


def test_a_memory_with_a_right_seal_and_wrong_fields_is_none() -> None:
    for plain in ({}, {"schema_version": 1, "trainer": "m", "tenant": ""}, {"schema_version": 2, "trainer": "m"}):
        sealed = {**plain, "sha256": memory._seal(plain)}
        with pytest.raises(IntegrityError):
            memory.decode(memory.canonical_json(sealed).encode(), "m", "")
    with pytest.raises(IntegrityError):
        memory.decode(b'{"epoch":1e999,"sha256":""}', "m", "")

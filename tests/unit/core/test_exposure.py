import hashlib
from dataclasses import replace

import pytest

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.exposure import Exposure, admit, bucket, exposed, route

TENANTS = frozenset(f"tenant-{i}" for i in range(200))


def at(percent: int, **changes: object) -> Exposure:
    return replace(Exposure(salt="r1", percent=percent), **changes)  # type: ignore[arg-type]


def test_a_tenants_place_is_the_published_one() -> None:
    assert bucket("tenant-0", "rollout-0001") == 0.025449044161718556


def test_places_are_the_first_eight_bytes_of_the_digest_over_two_to_the_64() -> None:
    for tenant in ("", "ä", "acme", "日本"):
        digest = hashlib.sha256(b"r1" + bytes([0]) + tenant.encode("utf-8")).hexdigest()
        assert bucket(tenant, "r1") == int(digest[:16], 16) / 18446744073709551616


def test_the_highest_digest_is_still_inside_of_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def digest(self) -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr(hashlib, "sha256", lambda data: Highest())
    place = bucket.__wrapped__("any", "salt")
    assert 0.9999999 < place < 1
    assert route("only-here", at(100)).is_exposed


def test_a_window_without_a_tenant_is_the_tenant_without_a_name() -> None:
    assert bucket(None, "r1") == bucket("", "r1")
    assert route(None, at(100)).tenant == ""
    assert exposed([None, "", None], at(100)) == {""}


def test_a_share_of_the_tenants_is_those_below_it() -> None:
    for percent in (1, 5, 10, 25, 50, 75, 100):
        expected = {name for name in TENANTS if bucket(name, "r1") < percent / 100}
        assert exposed(TENANTS, at(percent)) == expected
    assert exposed(TENANTS, at(0)) == frozenset()


def test_names_go_before_places_and_deny_goes_before_all() -> None:
    everything = at(
        50,
        allow=frozenset({"a", "b", "c", "d"}),
        deny=frozenset({"a"}),
        held=frozenset({"a", "b"}),
        admitted=frozenset({"a", "b", "c", "e"}),
        eligible=frozenset({"a", "b", "d", "e"}),
    )
    assert [route(name, everything).reason for name in "abcde"] == [
        "denied",
        "held_back",
        "not_eligible",
        "allowed",
        "admitted",
    ]
    assert [route(name, everything).is_exposed for name in "abcde"] == [False, False, False, True, True]


def test_at_zero_percent_nobody_is_exposed_whatever_the_lists_say() -> None:
    assert route("a", at(0, allow=frozenset({"a"}), admitted=frozenset({"a"}))).reason == "closed"


def test_an_exposed_tenant_gets_the_candidate_and_the_others_the_champion() -> None:
    inside = route("a", at(100), candidate=7, champion=3, ring=Ring.CANARY)
    outside = route("a", at(100, deny=frozenset({"a"})), candidate=7, champion=3, ring=Ring.CANARY)
    assert (inside.version, inside.ring, inside.reason) == (7, Ring.CANARY, "in_percent")
    assert (outside.version, outside.ring, outside.detail) == (3, Ring.GLOBAL, "it is on the deny list")


def test_a_route_shows_the_numbers_that_decided_it() -> None:
    place = bucket("acme", "r1")
    assert route("acme", at(1)).detail == f"its place {place:.6f} {'<' if place < 0.01 else '>='} 0.01"


def test_an_empty_list_of_eligible_tenants_is_nobody_and_a_star_is_everybody() -> None:
    assert exposed(TENANTS, at(100, eligible=frozenset())) == frozenset()
    assert exposed(TENANTS, at(100, eligible=frozenset({"*"}))) == TENANTS


def test_enough_tenants_are_let_in_early_by_their_places() -> None:
    exposure = at(1, min_tenants=5)
    by_place = sorted(TENANTS, key=lambda name: bucket(name, "r1"))
    inside = exposed(TENANTS, exposure)
    new = admit(TENANTS, exposure)
    assert len(inside) < 5
    assert inside | new == set(by_place[:5])
    assert exposed(TENANTS, replace(exposure, admitted=new)) == set(by_place[:5])


def test_nobody_is_let_in_where_enough_are_exposed_or_none_is_asked_for() -> None:
    assert admit(TENANTS, at(50, min_tenants=5)) == frozenset()
    assert admit(TENANTS, at(1)) == frozenset()
    assert admit(TENANTS, at(0, min_tenants=5)) == frozenset()


def test_who_is_kept_out_by_name_is_not_let_in_early() -> None:
    by_place = sorted(TENANTS, key=lambda name: bucket(name, "r1"))
    exposure = at(1, min_tenants=3, deny=frozenset(by_place[:2]), held=frozenset(by_place[2:4]))
    assert admit(TENANTS, exposure) | exposed(TENANTS, exposure) == set(by_place[4:7])


def test_fewer_tenants_than_asked_for_are_all_let_in() -> None:
    assert admit({"a", "b"}, at(1, min_tenants=5)) | exposed({"a", "b"}, at(1)) == {"a", "b"}


@pytest.mark.parametrize("changes", [{"percent": -1}, {"percent": 101}, {"min_tenants": -1}])
def test_shares_and_numbers_of_tenants_have_bounds(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Exposure(**{"salt": "r1", "percent": 1} | changes)  # type: ignore[arg-type]

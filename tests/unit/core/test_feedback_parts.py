"""What waits and what is held out: the small parts of feedback."""

from typing import Any

import pytest

from upm_cli.core.feedback.join import Join, JoinPolicy
from upm_cli.core.feedback.lines import Label
from upm_cli.core.feedback.names import positions_key, served_owner, trainer_of
from upm_cli.core.feedback.parked import Parked, ParkedLabel
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Mode, Snapshot, SnapshotStatus
from upm_cli.core.rollouts.holdout import Holdout, why_barred
from upm_cli.core.window import LabelKind


def label(window_id: str, value: float = 1.0) -> ParkedLabel:
    return ParkedLabel(window_id, Label(LabelKind.NUMBER, value, ""), 3, True)


def test_the_first_label_of_a_window_waits_and_the_oldest_gives_way() -> None:
    parked = Parked(2)
    assert [parked.add(label("a"), 10), parked.add(label("a", 2.0), 11), parked.add(label("b"), 12)] == [0, 1, 0]
    assert parked.add(label("c"), 13) == 1
    assert parked.window_ids == ["b", "c"]
    assert [each.window_id for each in parked.take(["c", "x", "c", "b"])] == ["c", "b"]
    assert (len(parked), parked.take(["c"])) == (0, [])


def test_labels_that_waited_long_enough_are_let_go() -> None:
    parked = Parked(10)
    for number in range(4):
        parked.add(label(f"w{number}"), number)
    assert parked.expire(2) == 2
    assert parked.window_ids == ["w2", "w3"]


@pytest.mark.parametrize(
    "told", [Label(LabelKind.BOOL, 1.0, ""), Label(LabelKind.CLASS, float("nan"), "spam")], ids=["bool", "class"]
)
def test_what_is_parked_is_the_same_after_a_restart(told: Label) -> None:
    parked = Parked(10)
    parked.add(ParkedLabel("w", told, 7, False), 5)
    again = Parked.from_plain(10, parked.to_plain())
    assert again.to_plain() == parked.to_plain()
    (found,) = again.take(["w"])
    assert (found.label.kind, found.label.text, found.version, found.acted) == (told.kind, told.text, 7, False)


@pytest.mark.parametrize("name", ["horizon_ms", "max_waiting", "max_known"])
def test_a_join_without_room_or_time_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        JoinPolicy(**{name: 0})
    with pytest.raises(ValueError, match="late_windows must be append or ledger"):
        JoinPolicy(late_windows="drop")


def test_a_join_that_has_seen_nothing_forgets_nothing() -> None:
    join = Join(JoinPolicy())
    join.settle(join.take([]))
    again = Join.from_plain(join.policy, join.to_plain())
    assert (again.open, again.waiting, again.newest_ms) == (0, 0, join.newest_ms)


def test_names_beside_a_trainer_lead_back_to_it() -> None:
    assert {trainer_of(served_owner("main")), trainer_of(positions_key("main")), trainer_of("main")} == {"main"}


def test_nothing_served_is_nothing_to_join() -> None:
    assert len(Served.concat([])) == len(Served.concat([Served.empty(), Served.empty()])) == 0


def snapshot(**more: Any) -> Snapshot:
    return Snapshot(
        trainer="main", version=1, mode=Mode.ACTIVE, digest="0" * 64, file_digest="0" * 64, codec="none", path="",
        size_bytes=0, raw_bytes=0, **more,
    )  # fmt: skip


def test_what_keeps_an_anchor_from_being_served() -> None:
    assert why_barred(snapshot()) == ""
    assert why_barred(snapshot(quarantined=True)) == "is quarantined (no reason given)"
    assert why_barred(snapshot(status=SnapshotStatus.ROLLED_BACK)) == "was rolled back"
    assert why_barred(None) == "is gone"
    with pytest.raises(ValueError, match="percent must be 0 to 5"):
        Holdout(version=1, percent=6, salt="")

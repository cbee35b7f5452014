"""Who is held against whom, by what is live and what a rollout exposes."""

from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.judging.matches import Match, Wanted, wanted
from upm_cli.core.records import Activation, Mode, Ring, RolloutRow, Snapshot, Trainer


def live(**rings: tuple[int, int]) -> dict[Ring, Activation]:
    """Return what is live: ring=(version, percent); the rest of a share of ring global gets v1."""
    return {
        Ring(ring): Activation(
            trainer="main", ring=Ring(ring), epoch=1, version=version, previous_version=None, percent=percent,
            kind="activate", decision_id="d", actor="", reason="", at_ms=0,
            rest_version=1 if 0 < percent < 100 else None,
        )
        for ring, (version, percent) in rings.items()
    }  # fmt: skip


def snapshots(*last_seqs: int) -> list[Snapshot]:
    return [
        Snapshot(
            trainer="main", version=version, mode=Mode.SHADOW, digest="", file_digest="", codec="none", path="",
            size_bytes=0, raw_bytes=0, last_seq=last,
        )
        for version, last in enumerate(last_seqs, 1)
    ]  # fmt: skip


def rollout(version: int | None, champion: int | None, stage: int, **more: Any) -> RolloutRow:
    ended = more.pop("ended_at_ms", None)
    state = {"since_seq": more.pop("since_seq", 0), "is_undoing": more.pop("is_undoing", False)}
    return RolloutRow(
        rollout_id=f"r{more.get('number', 1)}", trainer="main", number=more.get("number", 1),
        phase=more.get("phase", "progressing"), version=version, champion=champion, stage=stage, state=state,
        actor="", reason="", started_at_ms=0, updated_at_ms=0, ended_at_ms=ended,
    )  # fmt: skip


def find(
    rings: dict[Ring, Activation], rollouts: list[RolloutRow] | None = None, lineage: tuple[dict[str, Any], ...] = ()
) -> list[Wanted]:
    trainer = Trainer(name="main", stream="main", lineage=lineage)
    return wanted(trainer, rings, rollouts or [], snapshots(99, 199, 299))


def test_with_nothing_live_there_is_the_lineage_and_the_baseline() -> None:
    assert find({}) == [Wanted(match=Match(kind="lineage", challenger=None, champion=None))]
    assert find(live(shadow=(2, 0))) == find({})


def test_the_lineage_is_held_against_ring_global_on_windows_it_has_not_learned_from() -> None:
    (one,) = find(live(**{"global": (2, 100)}))
    assert one.match == Match(kind="lineage", challenger=None, champion=2, min_seq=200)
    assert one.match.label == "lineage/2/lineage"


def test_a_canary_is_held_against_what_the_others_get() -> None:
    lineage, candidate = find(live(**{"global": (1, 100), "canary": (3, 10)}))
    assert lineage.match.champion == 1
    assert candidate.match == Match(kind="candidate", challenger=3, champion=1, min_seq=300)
    assert len(find(live(**{"global": (3, 100), "canary": (3, 10)}))) == 1
    _, alone = find(live(canary=(3, 10)))
    assert (alone.match.challenger, alone.match.champion) == (3, None)


def test_a_share_of_ring_global_is_held_against_the_rest() -> None:
    lineage, candidate = find(live(**{"global": (2, 50)}))
    assert lineage.match.champion == 2
    assert (candidate.match.challenger, candidate.match.champion) == (2, 1)


@pytest.mark.parametrize(
    ("row", "exposes"),
    [
        (rollout(None, 1, 0), False),
        (rollout(3, 1, 2), True),
        (rollout(3, 1, 2, phase="paused"), True),
        (rollout(3, 1, 7, phase="promoted"), True),
        (rollout(3, 1, 7, phase="promoted", ended_at_ms=5), False),
        (rollout(3, 1, 2, phase="degraded", ended_at_ms=5), False),
        (rollout(3, 1, 2, phase="degraded", ended_at_ms=5, is_undoing=True), True),
        (rollout(3, 1, 2, phase="aborted", ended_at_ms=5), False),
    ],
)
def test_a_rollout_names_its_candidate_while_it_exposes_it(row: RolloutRow, exposes: bool) -> None:
    found = find(live(**{"global": (1, 100)}), [row])
    assert (len(found) == 2) is exposes
    if exposes:
        match = found[1].match
        assert (match.challenger, match.champion, match.rollout_id) == (3, 1, "r1")
        assert (found[1].stage, found[0].match.champion) == (row.stage, 1)


def test_the_share_of_alpha_goes_by_candidates_and_promotions_before() -> None:
    past = [rollout(2, 1, 7, phase="promoted", ended_at_ms=1), rollout(3, 2, 1, number=2, since_seq=70)]
    _, candidate = find(live(**{"global": (2, 100)}), past)
    assert (candidate.candidate, candidate.promoted, candidate.since_seq) == (2, 1, 70)


def test_after_a_rewind_only_the_lineage_since_then_counts() -> None:
    (one,) = find({}, lineage=({"at_seq": 500},))
    assert (one.match.rewinds, one.match.min_seq) == (1, 500)


def test_in_shadow_a_rollout_says_from_where_on_the_lineage_counts() -> None:
    (one,) = find({}, [rollout(None, None, 0, since_seq=40)])
    assert one.since_seq == 40


def test_a_candidate_is_not_held_to_the_windows_of_tenants_that_are_held_back_from_it() -> None:
    row = rollout(2, 1, 3)
    row = replace(row, state={**row.state, "held_tenants": ["a"]})
    found = find(live(canary=(2, 10), **{"global": (1, 100)}), [row])
    assert [each.held for each in found] == [frozenset(), frozenset({"a"})]

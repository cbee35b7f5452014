"""The verdict on a contest from its facts, in every combination that matters."""

import itertools
from dataclasses import replace

import pytest

from upm_cli.core.judging.coverage import worst_case
from upm_cli.core.judging.evidence_decision import Doubt, evidence_inputs, recompute_quarantine, recompute_verdict
from upm_cli.core.judging.ruling import Facts, Rules, decide
from upm_cli.core.plain import to_plain
from upm_cli.core.records import Mode, Snapshot
from upm_cli.core.verdict import Verdict

GOOD = Facts(
    contest=Verdict.PASS, reasons=(), alarm=False, broken="", windows=1000, labelled=1000, min_label_coverage=0.95,
    high=-0.2, margin=0.01,
)  # fmt: skip


def test_a_pass_needs_everything() -> None:
    assert decide(GOOD) == (Verdict.PASS, ())
    for spoiled in (
        replace(GOOD, contest=Verdict.UNKNOWN),
        replace(GOOD, broken="v3 is gone"),
        replace(GOOD, windows=0, labelled=0),
        replace(GOOD, labelled=0),
        replace(GOOD, labelled=500),
        replace(GOOD, has_begun=False),
    ):
        verdict, _ = decide(spoiled)
        assert verdict is Verdict.UNKNOWN
    for failed in (replace(GOOD, contest=Verdict.FAIL), replace(GOOD, alarm=True)):
        assert decide(failed)[0] is Verdict.FAIL


def test_nothing_hides_harm_that_was_shown() -> None:
    ways = itertools.product(
        (replace(GOOD, contest=Verdict.FAIL), replace(GOOD, alarm=True)), ("", "gone"), (0, 10, 1000), (True, False)
    )
    for facts, broken, labelled, begun in ways:
        assert decide(replace(facts, broken=broken, labelled=labelled, has_begun=begun))[0] is Verdict.FAIL


def test_missing_labels_are_named_and_count_as_the_worst() -> None:
    verdict, reasons = decide(replace(GOOD, windows=3210, labelled=1316))
    assert verdict is Verdict.UNKNOWN
    assert reasons == ("labels: 41 % of 3,210 windows, needs 95 %",)
    assert worst_case(0.074, 0.95, 1.0) == pytest.approx(0.95 * 0.074 + 0.05)
    assert worst_case(None, 0.5, -1.0) == -1.0
    # 90 % have labels and are better by 0.2 for sure: even if all others are wrong the mean is -0.08
    assert decide(replace(GOOD, labelled=900))[0] is Verdict.PASS
    assert decide(replace(GOOD, labelled=900, high=-0.05))[0] is Verdict.UNKNOWN
    assert decide(replace(GOOD, labelled=900, high=None))[0] is Verdict.UNKNOWN


def test_more_labels_than_windows_are_all_of_them() -> None:
    assert decide(replace(GOOD, labelled=1200))[0] is Verdict.PASS


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="coverage"):
        Rules(min_label_coverage=1.5)
    with pytest.raises(ValueError, match="horizon"):
        Rules(label_horizon_ms=-1)


def shot(version: int, first: int, last: int) -> Snapshot:
    return Snapshot(
        trainer="main", version=version, mode=Mode.SHADOW, digest="", file_digest="", codec="none", path="",
        size_bytes=0, raw_bytes=0, first_seq=first, last_seq=last,
    )  # fmt: skip


ROWS = [shot(1, 0, 99), shot(2, 100, 199), shot(3, 200, 299), shot(4, 300, 399)]


def test_a_failed_candidate_is_doubted_alone_and_a_lineage_where_it_was_bad() -> None:
    candidate = Doubt(challenger=3, champion=1, doubt_from=0, last_seq=500)
    assert [s.version for s in candidate.among(ROWS)] == [3]
    lineage = Doubt(challenger=None, champion=1, doubt_from=150, last_seq=299)
    assert [s.version for s in lineage.among(ROWS)] == [2, 3]
    assert [s.version for s in replace(lineage, known=(2,)).among(ROWS)] == [3]
    assert [s.version for s in replace(lineage, doubt_from=0).among(ROWS)] == [2, 3]  # never the champion


def test_what_was_recorded_gives_the_same_again() -> None:
    failed = replace(GOOD, contest=Verdict.FAIL, reasons=("worse",))
    assert recompute_verdict(to_plain(failed)) == {"verdict": "fail", "reasons": ["worse"]}
    doubt = Doubt(challenger=None, champion=1, doubt_from=150, last_seq=299, known=(2,))
    inputs = evidence_inputs(failed, doubt, ROWS, rule="both", way_back=1)
    assert recompute_quarantine(to_plain(inputs)) == {"verdict": "fail", "barred": [2, 3], "recommendation": "rollback"}
    seed = evidence_inputs(failed, doubt, ROWS, rule="seed", way_back=None)
    assert recompute_quarantine(to_plain(seed)) == {"verdict": "fail", "barred": [2], "recommendation": "pause"}

"""Contests in the drift report: the numbers, the words, and that unknown never looks like good news."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from upm_cli.core.drift import DriftPolicy
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.matches import Match
from upm_cli.core.judging.ruling import Rules, headline, rule
from upm_cli.core.judging.trial import Rows, Trial
from upm_cli.core.records import Evidence
from upm_cli.core.window import Strings
from upm_cli.ops import report_contests
from upm_cli.ops.evidence_record import name_of
from upm_cli.ops.report import Report
from upm_cli.ops.report import headline as report_headline
from upm_cli.ops.report_html import html
from upm_cli.ops.report_text import markdown


def contest(excess: float, n: int, *, tenant: str = "acme", challenger: int | None = 14) -> Evidence:
    """What the monitor keeps of a candidate whose loss is `excess` above that of v12 on each of n windows."""
    match = Match(kind="candidate", challenger=challenger, champion=12)
    trial = Trial(match, EvidencePolicy(block_size=20), from_seq=0, floor_ms=None)
    every = np.ones(n, np.bool_)
    rows = Rows(np.arange(n), np.arange(n) * 1000, every, every, Strings.of([tenant] * n))
    trial.advance(rows, np.full(n, 0.2 + excess), np.full(n, 0.2), every, 0, n * 1000)
    ruling = rule(trial, Rules())
    found = ruling.to_json()
    row = Evidence(
        trainer="main", kind="candidate", contest_id=trial.contest_id, challenger=challenger, champion=12, stage=0,
        verdict=ruling.verdict.value, windows=n, first_seq=0, last_seq=n - 1, findings=found, updated_at_ms=0,
    )  # fmt: skip
    return replace(row, findings={**found, "headline": headline(name_of(row), found)})


def report(*contests: Evidence, **policy: Any) -> Report:
    return Report(
        trainer="main", policy=DriftPolicy(**policy), lines=(), tenants=None, left_out=0, recomputed=False,
        contests=contests,
    )  # fmt: skip


def test_a_pass_a_failure_and_an_unknown_say_what_they_rest_on() -> None:
    good, bad, open_ = contest(-0.08, 4000), contest(0.08, 4000), contest(0.0, 100)
    assert [row.verdict for row in (good, bad, open_)] == ["pass", "fail", "unknown"]
    passed, failed, unknown = report_contests.lines([good, bad, open_])
    assert passed.startswith("✓ candidate v14 against v12: pass | mean excess -0.0800 [-0.")
    assert passed.endswith("< 0.0100, 4,000 windows")
    assert failed.startswith("✗ candidate v14 against v12: fail | mean excess +0.0800 [+0.")
    assert "mean loss is worse by more than 0.01" in failed
    assert failed.endswith("harmed: acme")
    assert unknown.startswith("? candidate v14 against v12: unknown | ")
    needed = open_.findings["gate"]["needed"]
    assert f"about {needed:,} more windows needed" in unknown


def test_unknown_is_never_shown_as_good_in_any_format() -> None:
    row = contest(0.0, 100)
    for text in (markdown(report(row)), html(report(row)), "\n".join(report_contests.lines([row]))):
        (line,) = [each for each in text.splitlines() if "candidate v14" in each]
        assert "unknown" in line
        assert "✓" not in line


def test_json_has_the_numbers_of_each_contest_and_of_its_tenants() -> None:
    row = contest(0.08, 4000)
    (found,) = report_contests.payload([row])
    assert (found["verdict"], found["windows"], found["champion"], found["harmed"]) == ("fail", 4000, 12, ["acme"])
    assert found["low"] < found["value"] < found["high"]
    assert found["harm"]["verdict"] == "fail"
    (tenant,) = found["tenants"]
    assert (tenant["tenant"], tenant["verdict"], tenant["n"]) == ("acme", "fail", 4000)
    assert report_contests.of_tenant([row], "acme")["candidate"]["mean"] == pytest.approx(0.08)
    assert report_contests.of_tenant([row], "globex") == {}
    assert report_contests.tenant_words(report_contests.of_tenant([row], "acme")) == "candidate ✗ harmed +0.080"


def test_a_failed_contest_leads_the_report_unless_only_windows_decide() -> None:
    bad = contest(0.08, 4000)
    assert report_headline(report(bad)) == f"main: {bad.findings['headline']}"
    assert report(bad).failed == (bad,)
    assert report(bad, rule="seed").failed == ()
    assert "no comparisons yet" in report_headline(report(bad, rule="seed"))


def test_names_from_data_are_escaped() -> None:
    row = contest(0.08, 4000, tenant="<script>|x")
    assert "<script>" not in html(report(row))
    assert "<script>" not in markdown(report(row))

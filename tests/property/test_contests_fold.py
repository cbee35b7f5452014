"""The contests of a trainer against slow oracles: the same however the log is cut, saved and read back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging import contests as fold
from upm_cli.core.judging.contests import Contests, Losses
from upm_cli.core.judging.coverage import COHORT_MS
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.judging.matches import Match, Wanted
from upm_cli.core.judging.ruling import Rules
from upm_cli.core.judging.trial import Rows
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import Strings

H = COHORT_MS
POLICY = EvidencePolicy(block_size=20, max_tenants=2)
LINEAGE = Wanted(match=Match(kind="lineage", challenger=None, champion=None))


@dataclass(frozen=True)
class Row:
    """One row of the log: a window, or (`of`) the label that came later for the window at that row."""

    at_ms: int
    tenant: str = ""
    label: bool = True
    of: int = -1
    challenger: float | None = 0.25  # None: no loss
    champion: float | None = 0.25


@st.composite
def logs(draw: st.DrawFn, size: int = 150) -> list[Row]:
    count = draw(st.integers(0, size))
    rows: list[Row] = []
    bare: list[int] = []
    at_ms = 0
    for _ in range(count):
        loss = st.sampled_from([0.0, 0.25, 0.5, 1.0, None])
        if bare and draw(st.integers(0, 3)) == 0:
            window = bare.pop(draw(st.integers(0, len(bare) - 1)))
            old = rows[window]
            rows.append(Row(old.at_ms, old.tenant, True, window, draw(loss), draw(loss)))
            continue
        at_ms += draw(st.sampled_from([0, 1, H // 3, H]))
        late = draw(st.sampled_from([0, 0, 0, H]))
        label = draw(st.integers(0, 3)) > 0
        if not label:
            bare.append(len(rows))
        tenant = draw(st.sampled_from(["", "a", "b", "c"]))
        rows.append(Row(max(0, at_ms - late), tenant, label, -1, draw(loss), draw(loss)))
    return rows


def feed(state: Contests, rows: Sequence[Row], start: int, stop: int, rules: Rules) -> None:
    """Hand rows start…stop of the log to the contests, as the monitor does."""
    part = rows[start:stop]
    n = len(part)

    def column(name: str) -> np.ndarray:
        values = [getattr(row, name) if row.label else None for row in part]
        return np.array([np.nan if value is None else value for value in values])

    columns = Rows(
        np.arange(start, stop), np.array([row.at_ms for row in part], np.int64),
        np.array([row.of < 0 for row in part], np.bool_), np.array([row.label for row in part], np.bool_),
        Strings.of([row.tenant for row in part]),
    )  # fmt: skip
    challenger, champion = column("challenger"), column("champion")
    compared = np.isfinite(challenger) & columns.labelled
    seq = np.flatnonzero(compared) + start
    scores = challenger[compared].astype(np.float32)
    empty = Strings.empty(seq.size)
    comparisons = Comparisons(
        seq, columns.start_ms[compared], empty, empty, scores, scores.astype(np.float64), scores, scores, scores, scores
    )
    assert n == len(columns)
    losses = Losses(challenger, champion, compared, {7: champion}, {})
    state.advance(columns, stop, losses, comparisons, rules)


def run(rows: Sequence[Row], cuts: Sequence[int], rules: Rules, *, save: bool = False) -> Contests:
    state = Contests()
    state.arrange([LINEAGE], lambda _: POLICY)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, stop in zip(edges, edges[1:], strict=False):  # noqa: RUF007
        feed(state, rows, start, stop, rules)
        if save:
            state = Contests.load(state.dump())
    return state


cuts_ = st.lists(st.integers(1, 150), max_size=5)
horizons = st.sampled_from([0, 1, H, 3 * H])


@settings(max_examples=60, deadline=None)
@given(rows=logs(), cuts=cuts_, horizon=horizons)
def test_however_the_log_is_cut_and_saved_the_state_is_the_same_to_the_byte(
    rows: list[Row], cuts: list[int], horizon: int
) -> None:
    rules = Rules(label_horizon_ms=horizon)
    whole = run(rows, [], rules)
    assert run(rows, cuts, rules, save=True).dump() == whole.dump()
    assert run(rows, list(range(150)), rules).dump() == whole.dump()
    assert whole.lineage is not None
    assert whole.lineage.has_failed is (whole.rulings(rules)["lineage"].verdict is Verdict.FAIL)


@settings(max_examples=60, deadline=None)
@given(rows=logs(), horizon=horizons)
def test_windows_are_judged_and_counted_once_they_are_old_enough(rows: list[Row], horizon: int) -> None:
    state = run(rows, [], Rules(label_horizon_ms=horizon))
    assert state.lineage is not None
    newest = max((row.at_ms for row in rows if row.of < 0), default=-1)

    def is_mature(row: Row) -> bool:
        return not horizon or (row.at_ms // H + 1) * H + horizon <= newest

    known = {row.of if row.of >= 0 else at for at, row in enumerate(rows) if row.label and row.challenger is not None}
    windows = [at for at, row in enumerate(rows) if row.of < 0 and is_mature(row)]
    assert state.lineage.coverage.windows == len(windows)
    assert state.lineage.coverage.labelled == len(known & set(windows))
    assert state.lineage.coverage.waiting == sum(row.of < 0 for row in rows) - len(windows)
    judged = []
    for row in rows:  # in log order, up to the first that is too young
        if row.label:
            if not is_mature(row):
                break
            judged.append(row)
    assert state.lineage.contest.windows == sum(r.challenger is not None and r.champion is not None for r in judged)
    assert state.lineage.waiting == sum(row.label for row in rows) - len(judged)


@settings(max_examples=50, deadline=None)
@given(rows=logs())
def test_tenants_are_counted_with_their_first_row(rows: list[Row]) -> None:
    state = run(rows, [40], Rules())
    expected: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row.of < 0 and row.tenant:
            expected.setdefault(row.tenant, [0, at])[0] += 1
    assert state.seen.known == expected
    assert list(state.seen.known) == list(expected)


@pytest.mark.parametrize("bad_from", [0, 500, 1500])
def test_saved_anywhere_the_alarm_comes_at_the_same_row(bad_from: int) -> None:
    rows = [Row(i * 1000, "a", True, -1, 0.9 if i >= bad_from else 0.1, 0.1) for i in range(3000)]
    rules = Rules(false_alarms=FalseAlarmBudget.parse("1 per 90d"))
    whole = run(rows, [], rules)
    assert whole.lineage is not None
    assert whole.lineage.misses is not None
    alarm = whole.lineage.misses.alarm_seq
    assert alarm is not None
    assert bad_from < alarm <= bad_from + 400
    assert bad_from - 20 <= whole.lineage.doubt_from() <= bad_from + 20
    for cut in (1, alarm - 1, alarm, alarm + 1, 2999):
        again = run(rows, [cut], rules, save=True)
        assert again.lineage is not None
        assert again.lineage.misses is not None
        assert again.lineage.misses.alarm_seq == alarm
        assert again.dump() == whole.dump()


def test_a_lineage_that_failed_stays_failed_until_a_retrial_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "REVIEW", 256)
    rules = Rules()

    def row(i: int) -> Row:
        return Row(i * 1000, "a", True, -1, 0.3 if i < 1000 else 0.1, 0.2)

    rows = [row(i) for i in range(6000)]
    state = Contests()
    state.arrange([LINEAGE], lambda _: POLICY)
    said: list[tuple[int, str]] = []
    for start in range(0, 6000, 100):
        feed(state, rows, start, start + 100, rules)
        verdict = state.rulings(rules)["lineage"].verdict.value
        assert state.lineage is not None
        assert state.lineage.has_failed is (verdict == "fail")
        if not said or said[-1][1] != verdict:
            said.append((start, verdict))
    assert [verdict for _, verdict in said] == ["unknown", "fail", "pass"]
    assert state.lineage is not None
    assert state.retrial is None
    assert state.lineage.from_seq % 256 == 0
    assert state.lineage.from_seq >= 1000 - 256
    once = Contests()
    once.arrange([LINEAGE], lambda _: POLICY)
    feed(once, rows, 0, 6000, rules)
    assert once.dump() == state.dump()


def test_a_candidate_that_failed_stays_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "REVIEW", 256)
    match = Match(kind="candidate", challenger=7, champion=None)
    state = Contests()
    state.arrange([LINEAGE, Wanted(match=match)], lambda _: POLICY)
    rows = [Row(i * 1000, "a", True, -1, 0.2, 0.4 if i < 2000 else 0.0) for i in range(6000)]
    seq = np.arange(6000)
    every = np.ones(6000, np.bool_)
    columns = Rows(seq, seq * 1000, every, every, Strings.of(["a"] * 6000))
    baseline = np.full(6000, 0.2)
    frozen = np.array([row.champion for row in rows])
    state.advance(columns, 6000, Losses(baseline, baseline, every, {7: frozen}), Comparisons.empty(), Rules())
    rulings = state.rulings(Rules())
    assert rulings["candidate"].verdict is Verdict.FAIL  # though it was the better one for 4,000 windows since


def test_bytes_that_are_no_contests_are_refused() -> None:
    state = run([], [], Rules())
    data = state.dump()
    with pytest.raises(ValueError):
        Contests.load(data[:-3])
    with pytest.raises(ValueError):
        Contests.load(b"")

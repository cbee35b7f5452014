"""Predictions and outcomes are brought together as a slow, obvious account of the rules says."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.feedback import join as joining
from upm_cli.core.feedback.join import Join, JoinPolicy
from upm_cli.core.feedback.lines import Label, Outcome, Prediction
from upm_cli.core.window import LabelKind, Strings

BUCKET = 4  # instead of a minute
Told = Prediction | Outcome


def made(number: int) -> Prediction:
    """Return a prediction; when it was made depends on its number alone."""
    at_ms = number * 7 % 40
    return Prediction(f"p{number}", f"w{number}", "main", "", 1, "", 0, "edge", at_ms, 0, 0, {"prediction": 1})


def outcome(number: int, observed_ms: int, *, brings: bool) -> Outcome:
    label = Label(LabelKind.NUMBER, 1.0, "")
    return Outcome(f"p{number}", label, True, observed_ms, "edge", made(number) if brings else None)


@dataclass
class Oracle:
    """The definition at the head of core/feedback/join.py, one line at a time, looking through everything."""

    policy: JoinPolicy
    newest: int | None = None
    least: int | None = None
    open: list[tuple[Prediction, int]] = field(default_factory=list)
    waiting: list[tuple[Outcome, int]] = field(default_factory=list)
    unheard: list[tuple[str, int]] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    fresh: list[str] = field(default_factory=list)
    matched: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    duplicate: int = 0
    forgotten: int = 0

    def floor(self) -> float:
        bounds = [] if self.newest is None else [self.newest - self.policy.horizon_ms]
        return max([*bounds, *([] if self.least is None else [self.least])], default=float("-inf"))

    def is_known(self, key: str) -> bool:
        return key in self.answered and self.answered[key] >= self.floor()

    def take(self, line: Told) -> None:
        key = line.prediction_id
        until = max(line.time_ms, line.time_ms if self.newest is None else self.newest) + self.policy.horizon_ms
        if isinstance(line, Prediction):
            if key in [each for each, _ in self.unheard]:
                self.unheard = [each for each in self.unheard if each[0] != key]
                self.fresh.append(key)
            elif self.is_known(key) or key in [each.prediction_id for each, _ in self.open]:
                self.duplicate += 1
            elif key in [each.prediction_id for each, _ in self.waiting]:
                self.fresh.append(key)
                self.waiting = [each for each in self.waiting if each[0].prediction_id != key]
                self.meet(line)
            else:
                self.fresh.append(key)
                self.open.append((line, until))
                self.forgotten += len(self.open[: -self.policy.max_waiting])
                self.open = self.open[-self.policy.max_waiting :]
        elif self.is_known(key):
            self.duplicate += 1
        elif key in [each.prediction_id for each, _ in self.waiting]:
            self.duplicate += 1
            if line.served is not None:
                (first,) = [each for each, _ in self.waiting if each.prediction_id == key]
                self.waiting = [each for each in self.waiting if each[0] is not first]
                if self.meet(line.served):
                    until = max(first.time_ms, self.newest or 0) + self.policy.horizon_ms
                    self.unheard = [*self.unheard, (key, until)][-self.policy.max_waiting :]
        elif key in [each.prediction_id for each, _ in self.open]:
            self.open = [each for each in self.open if each[0].prediction_id != key]
            self.meet(made(int(key[1:])))
        elif line.served is not None:
            if self.meet(line.served):
                self.unheard = [*self.unheard, (key, until)][-self.policy.max_waiting :]
        else:
            self.waiting.append((line, until))
            self.late += [each.prediction_id for each, _ in self.waiting[: -self.policy.max_waiting]]
            self.waiting = self.waiting[-self.policy.max_waiting :]
        if self.newest is None or line.time_ms > self.newest:
            self.newest = line.time_ms
            self.forgotten += sum(end < self.newest for _, end in self.open)
            self.open = [each for each in self.open if each[1] >= self.newest]
            self.late += [each.prediction_id for each, end in self.waiting if end < self.newest]
            self.waiting = [each for each in self.waiting if each[1] >= self.newest]
            self.unheard = [each for each in self.unheard if each[1] >= self.newest]

    def meet(self, prediction: Prediction) -> bool:
        if prediction.predicted_at_ms < self.floor():
            self.late.append(prediction.prediction_id)
            return False
        self.matched.append(prediction.prediction_id)
        self.answered[prediction.prediction_id] = prediction.predicted_at_ms
        while True:
            buckets = [at // BUCKET for at in self.answered.values() if (at // BUCKET + 1) * BUCKET > self.floor()]
            if len(buckets) <= self.policy.max_known:
                return True
            self.least = (min(buckets) + 1) * BUCKET


lines = st.lists(
    st.one_of(
        st.integers(0, 11).map(made),
        st.builds(outcome, st.integers(0, 11), st.integers(0, 60), brings=st.booleans()),
    ),
    max_size=40,
)
policies = st.builds(
    JoinPolicy, horizon_ms=st.integers(5, 60), max_waiting=st.integers(1, 4), max_known=st.integers(1, 8)
)


def restored(join: Join, answered: dict[str, int]) -> Join:
    """Save and restore as a session does: what was answered comes from what is kept of it."""
    again = Join.from_plain(join.policy, join.to_plain())
    recalled = {key: at for key, at in answered.items() if at >= again.recall_from_ms}
    again.recall(Strings.of(recalled), np.array(list(recalled.values()), np.int64))
    return again


@given(lines, policies, st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=6))
@settings(max_examples=300, deadline=None)
def test_what_becomes_of_each_line_is_what_the_slow_account_says(
    told: list[Told], policy: JoinPolicy, cuts: list[tuple[int, bool]]
) -> None:
    oracle = Oracle(policy)
    for line in told:
        oracle.take(line)
    with mock.patch.object(joining, "BUCKET_MS", BUCKET):
        join, answered = Join(policy), dict[str, int]()
        seen: dict[str, list[str]] = {"fresh": [], "matched": [], "late": []}
        duplicate = forgotten = 0
        places = sorted({0, len(told), *(at for at, _ in cuts if at < len(told))})
        saved = {at for at, is_saved in cuts if is_saved}
        for start, stop in pairwise(places):
            part = told[start:stop]
            done = join.take(part)
            join.settle(done)
            seen["fresh"] += [part[number].prediction_id for number in done.fresh]
            seen["matched"] += [match.prediction.prediction_id for match in done.matched]
            seen["late"] += sorted(each.prediction_id for each in (*done.late, *done.expired))
            answered |= {match.prediction.prediction_id: match.prediction.time_ms for match in done.matched}
            duplicate, forgotten = duplicate + done.duplicate, forgotten + done.forgotten
            if stop in saved:
                join = restored(join, answered)
    assert (seen["fresh"], seen["matched"]) == (oracle.fresh, oracle.matched)
    assert sorted(seen["late"]) == sorted(oracle.late)
    assert (duplicate, forgotten) == (oracle.duplicate, oracle.forgotten)
    assert (join.open, join.waiting) == (len(oracle.open), len(oracle.waiting))
    assert len(seen["matched"]) == len(set(seen["matched"]))  # nothing is ever answered twice
    outcomes = sum(isinstance(line, Outcome) for line in told)
    repeated = duplicate - (len(told) - outcomes - len(seen["fresh"]))
    assert outcomes == len(seen["matched"]) + len(seen["late"]) + join.waiting + repeated


@given(lines, policies)
@settings(max_examples=60, deadline=None)
def test_late_outcomes_that_are_taken_again_meet_once(told: list[Told], policy: JoinPolicy) -> None:
    join = Join(policy)
    done = join.take(told)
    join.settle(done)
    late = [*done.late, *done.expired]
    before = {match.prediction.prediction_id for match in done.matched}
    again = join.readmit([*late, *late])
    join.settle(again)
    met = [match.prediction.prediction_id for match in again.matched]
    assert len(met) == len(set(met))
    assert before.isdisjoint(met)
    assert {each.prediction_id for each in late if each.served} <= {*met, *before}


def test_a_match_that_was_of_no_use_is_not_remembered() -> None:
    join = Join(JoinPolicy())
    first = join.take([made(1), outcome(1, 50, brings=True)])
    join.settle(first, refused={0})
    again = join.take([outcome(1, 50, brings=True)])
    assert (len(first.matched), len(again.matched), again.duplicate) == (1, 1, 0)


def test_a_late_outcome_has_its_prediction_with_it() -> None:
    join = Join(JoinPolicy(horizon_ms=10))
    done = join.take([made(1), made(2)._replace(predicted_at_ms=100), outcome(1, 5, brings=False)])
    assert [each.served for each in done.late] == []  # it is waited for as long as a prediction is
    assert done.forgotten == 1
    other = Join(JoinPolicy(horizon_ms=10))
    late: Any = other.take([made(2)._replace(predicted_at_ms=100), made(1), outcome(1, 5, brings=False)]).late
    assert [each.served for each in late] == [made(1)]

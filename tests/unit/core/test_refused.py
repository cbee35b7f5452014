"""Reasons for refused records, grouped; fields that look like required ones."""

import pytest

from upm_cli.core.lookalikes import did_you_mean, in_words, lookalikes
from upm_cli.core.refused import SHOWN_EXAMPLES, Look, Tally
from upm_cli.sources.fields import look_at


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["window_id", "start", "end", "features"], {"start": "window_start", "end": "window_end"}),
        (["id", "timestamp", "data"], {"id": "window_id", "timestamp": "window_start", "data": "features"}),
        (
            ["windowId", "windowStart", "windowEnd", "features"],
            {"windowId": "window_id", "windowStart": "window_start", "windowEnd": "window_end"},
        ),
        (
            ["window_id", "window_strat", "window_end", "featres"],
            {"window_strat": "window_start", "featres": "features"},
        ),
        (["window_id", "window_start", "window_end", "features", "start"], {}),
        (["tenant_id", "label", "basket"], {}),
        ([], {}),
    ],
)
def test_fields_that_look_like_required_ones_are_found(names: list[str], meant: dict[str, str]) -> None:
    assert lookalikes(names) == meant


def test_no_field_is_taken_for_two() -> None:
    meant = lookalikes(["window_date", "time"])
    assert len(set(meant.values())) == len(meant)


def test_a_guess_is_a_question_and_no_guess_is_nothing() -> None:
    assert in_words({"ts": "window_start"}) == "did you mean 'window_start' by 'ts'?"
    assert in_words({}) == ""
    assert did_you_mean(["window_id", "ts", "window_end", "data"]) == "did you mean 'window_start' by 'ts'?"


def test_equal_reasons_are_one_and_the_most_common_comes_first() -> None:
    tally = Tally()
    tally.add("not JSON", "a", 0, Look)
    for i in range(10):
        tally.add(f"the line has {i} cells, the header 4", "b", i, lambda: Look(names=("start",)))
    first, second = tally.reasons()
    assert (first["count"], first["reason"]) == (10, "the line has 0 cells, the header 4")
    assert first["examples"] == [{"source": "b", "offset": i} for i in range(SHOWN_EXAMPLES)]
    assert first["meant"] == {"start": "window_start"}
    assert first["hint"] == "did you mean 'window_start' by 'start'?"
    assert (second["count"], second["meant"], tally.count) == (1, {}, 11)
    assert tally.reasons(most=1) == [first]


def test_the_fields_of_what_is_no_window_are_not_asked() -> None:
    tally = Tally()
    tally.add("no such prediction", "a", 0, lambda: Look(names=("start",)), is_window=False)
    assert tally.reasons()[0]["meant"] == {}


def test_the_beginning_of_a_file_tells_what_all_of_it_is() -> None:
    tally = Tally()
    tally.add("truncated", "a", 0, lambda: Look(advice="it looks like one document"))
    tally.add("trailing", "a", 2, Look)
    tally.add("trailing", "a", 9, Look)
    tally.add("a time is missing", "a", 20, lambda: Look(names=("start",)))
    assert [reason["hint"] for reason in tally.reasons()] == [
        "it looks like one document",
        "it looks like one document",
        "did you mean 'window_start' by 'start'?",
    ]


def test_reasons_without_end_become_other_reasons() -> None:
    tally = Tally()
    words = [f"{a}{b}" for a in "abcdefghijklmnop" for b in "abcdefghijklmnop"]
    for word in words:
        tally.add(word, "a", 0, Look)
    assert tally.reasons(most=1) == [
        {
            "reason": "other reasons",
            "count": len(words) - 100,
            "examples": [{"source": "a", "offset": 0}] * 3,
            "meant": {},
            "hint": "",
        }
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'[{"window_id": "a"}]', "jq -c"),
        (b"[", "jq -c"),
        (b"{", "jq -c"),
        (b"PK\x03\x04abc", "zip"),
        (b"window_id,window_start", "--format csv"),
        (b"1;2;3", "--format csv"),
        (b"hello", ""),
        (b'{"a": 1', ""),
        (b"17", ""),
    ],
)
def test_what_is_no_record_at_all_gets_advice(raw: bytes, told: str) -> None:
    look = look_at(raw)
    assert look.names == ()
    assert told in look.advice
    assert bool(told) == bool(look.advice)


def test_the_fields_of_an_event_are_those_of_its_window() -> None:
    assert look_at(b'{"specversion": "1.0", "data": {"start": 1}}').names == ("start",)
    assert look_at(b'{"specversion": "1.0", "data": 7}').names == ()
    assert look_at(b'{"a": 1, "b": 2}').names == ("a", "b")

"""What is typed at the bottom of the dashboard: filters, and places to go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.errors import UsageError
from upm_cli.tui.filtering import Filter, is_subsequence
from upm_cli.tui.goto import Goto, complete, parse

FIELDS = {"tenant": "Acme", "status": "errored"}
TEXT = "✗ errored edge-3 Acme v0129"


@pytest.mark.parametrize(
    ("typed", "fits"),
    [
        ("", True),
        ("edge", True),
        ("EDGE", False),  # a capital means it
        ("Acme", True),
        ("acme", True),
        ("!edge", False),
        ("!nothing", True),
        ("edge-[12]", False),
        ("edge-[23]", True),
        ("~eg3", True),
        ("~3eg", False),
        ("!~3eg", True),
        ("tenant=acme", True),
        ("tenant=ac status=err", True),
        ("tenant=acme status=synced", False),
        ("!status=synced edge", True),
        ("unknown=acme", False),
        ("!", False),
        ("v0129$", True),
    ],
)
def test_a_filter_lets_through_what_it_says(typed: str, fits: bool) -> None:
    found = Filter.parse(typed)
    assert found.matches(TEXT, FIELDS) is fits
    assert bool(found) is bool(typed)


def test_a_regular_expression_that_is_none_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        Filter.parse("edge[")
    assert "edge[" in caught.value.message
    assert caught.value.hint


@given(st.text(), st.text())
def test_a_fuzzy_match_is_a_subsequence_whatever_the_letters(letters: str, text: str) -> None:
    assert is_subsequence("", text)
    assert is_subsequence(text, text)
    assert is_subsequence(letters, "".join(f"{letter}-" for letter in letters))
    expected = iter(text.lower())
    assert is_subsequence(letters, text) == all(any(c == found for found in expected) for c in letters.lower())


TRAINERS = ("search", "main", "fraud-eu")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("drift", Goto(verb="go", screen="drift")),
        ("drift main", Goto(verb="go", screen="drift", trainer="main")),
        ("agents tenant=eu status=errored", Goto(verb="go", screen="agents", filter="tenant=eu status=errored")),
        ("snap main v42", Goto(verb="go", screen="snapshots", trainer="main", row="42")),
        ("snapshots 0042 pinned", Goto(verb="go", screen="snapshots", row="42", filter="pinned")),
        ("fraud-eu", Goto(verb="go", screen="overview", trainer="fraud-eu")),
        ("roll", Goto(verb="go", screen="rollout")),
        ("ps", Goto(verb="go", screen="workers")),
        ("audit snapshot.rollback", Goto(verb="go", screen="events", filter="snapshot.rollback")),
        ("at yesterday 14:00", Goto(verb="at", argument="yesterday 14:00")),
        ("now", Goto(verb="now")),
        ("theme nord", Goto(verb="theme", argument="nord")),
        ("q", Goto(verb="quit")),
        ("HELP", Goto(verb="help")),
    ],
)
def test_places_are_named_in_short_and_with_what_is_wanted_there(typed: str, expected: Goto) -> None:
    assert parse(typed, TRAINERS) == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "where to?"),
        ("rolout", "did you mean :rollout?"),
        ("xyzzy", "one of overview"),
        ("s", "type one letter more"),
        ("at", ":at needs a time"),
        ("theme ", ":theme needs a name"),
    ],
)
def test_a_place_that_is_none_is_refused_with_the_nearest(typed: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(typed, TRAINERS)
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("typed", "finished"),
    [
        ("ag", "agents"),
        ("drift ma", "drift main"),
        ("drift main", None),
        ("theme no", "theme nord"),
        ("fra", "fraud-eu"),
        ("zz", None),
        ("", None),
        ("drift ", None),
    ],
)
def test_what_is_typed_is_finished_where_one_word_begins_so(typed: str, finished: str | None) -> None:
    assert complete(typed, TRAINERS, ("nord", "upm")) == finished

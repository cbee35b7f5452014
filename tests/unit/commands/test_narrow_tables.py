"""Tables on terminals that are too narrow for all of their columns."""

import re
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.commands._narrow import GAP, Need, arrange
from upm_cli.commands._output import Column
from upm_cli.commands._tables import render

SNAPSHOTS = (
    Column("version", "VERSION", right=True),
    Column("status", "STATUS"),
    Column("flags", "FLAGS"),
    Column("windows", "WINDOWS", right=True),
    Column("bytes", "BYTES", right=True, spare=2),
    Column("created_at", "CREATED", spare=1),
    Column("digest", "SHA256", spare=2),
)
ROWS = (
    ("1", "created", "", "12,848", "1,628", "2026-11-29 22:46:07Z", "a6bed394ca2a"),
    ("2", "activated", "", "15,728", "1,642", "2026-11-29 22:47:07Z", "033437ab4615"),
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    return monkeypatch


def drawn(terminal: pytest.MonkeyPatch, width: int, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    terminal.setenv("COLUMNS", str(width))
    return render(columns, rows, "", color=False)


def test_nothing_changes_where_there_is_room(terminal: pytest.MonkeyPatch) -> None:
    wide = drawn(terminal, 200, SNAPSHOTS, ROWS)
    assert wide.splitlines()[0].split() == ["VERSION", "STATUS", "FLAGS", "WINDOWS", "BYTES", "CREATED", "SHA256"]
    assert len(wide.splitlines()) == 4


@pytest.mark.parametrize("width", [60, 70, 80])
def test_headings_numbers_and_times_stay_whole_when_columns_have_to_go(
    terminal: pytest.MonkeyPatch, width: int
) -> None:
    narrow = drawn(terminal, width, SNAPSHOTS, ROWS).splitlines()
    assert len(narrow) == 4
    assert all(len(line) <= width for line in narrow)
    known = {column.title for column in SNAPSHOTS} | {cell for row in ROWS for cell in row}
    assert {cell for line in (narrow[0], *narrow[2:]) for cell in re.split(r" {2,}", line.strip())} <= known
    assert "VERSION" in narrow[0] and "WINDOWS" in narrow[0]
    assert "FLAGS" not in narrow[0]  # nothing is in it


def test_the_spare_column_that_matters_most_is_left_out_last(terminal: pytest.MonkeyPatch) -> None:
    assert "CREATED" in drawn(terminal, 62, SNAPSHOTS, ROWS)
    assert "SHA256" not in drawn(terminal, 62, SNAPSHOTS, ROWS)
    assert "CREATED" not in drawn(terminal, 40, SNAPSHOTS, ROWS)


def test_long_texts_go_under_their_row(terminal: pytest.MonkeyPatch) -> None:
    columns = [Column("n", "N", right=True), Column("action", "ACTION"), Column("what", "WHAT"), Column("why", "WHY")]
    rows = [
        [
            "7",
            "evidence.verdict",
            "contest lineage/baseline/lineage/0: pass on 8,000 windows",
            "the first one of it all",
        ],
        ["8", "rollout.start", "", ""],
    ]
    assert drawn(terminal, 50, columns, rows).splitlines() == [
        "N   ACTION             WHY",
        "─" * 46,
        "7   evidence.verdict   the first one of it all",
        "    what: contest lineage/baseline/lineage/0: pass",
        "    on 8,000 windows",
        "8   rollout.start",
    ]


def test_one_long_value_does_not_send_all_the_others_under_their_rows(terminal: pytest.MonkeyPatch) -> None:
    columns = [Column("setting"), Column("value"), Column("where")]
    rows = [[f"a.setting.with.a.long.name.{n}", f"{n}", "default"] for n in range(10)]
    rows.append(["policy.canary_tenants", "[one, two, three, four, five, six, seven]", "upm.yaml:7"])
    lines = drawn(terminal, 64, columns, rows).splitlines()
    assert lines[2:12] == [f"{name}   {value}{' ' * 22}default" for name, value, _ in rows[:10]]
    assert "value:" not in "".join(lines)


def test_a_terminal_narrower_than_a_word_still_shows_everything(terminal: pytest.MonkeyPatch) -> None:
    text = drawn(terminal, 9, [Column("a", "A"), Column("b", "B")], [["quarantined", "yes"]])
    assert "".join(text.split()).startswith("A─────────quarantined")
    assert "b:" in text and "yes" in text


NEEDS = st.builds(
    lambda longest, word, usual, empty, spare: Need(
        longest=longest, word=min(word, longest), usual=min(usual, longest), empty=empty, spare=spare
    ),
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(1, 120),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(NEEDS, min_size=1, max_size=12), st.integers(1, 200))
def test_a_layout_fits_and_loses_only_what_is_empty_or_spare(needs: list[Need], room: int) -> None:
    layout = arrange(needs, room)
    assert sum(layout.widths.values()) + GAP * (len(layout.widths) - 1) <= room
    assert all(0 < width <= needs[column].longest for column, width in layout.widths.items())
    shown = {*layout.widths, *layout.below}
    assert not set(layout.widths) & set(layout.below)
    assert all(need.empty or need.spare for column, need in enumerate(needs) if column not in shown)

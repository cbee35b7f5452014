"""What the dashboard draws, as text: widths, bars, intervals, stages, lineages, ASCII."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from textual.theme import BUILTIN_THEMES

from upm_cli.core.records import Mode, Snapshot
from upm_cli.ops.strips import Strip
from upm_cli.signs import TABLE, plain_signs
from upm_cli.tui import contests, rollout_text
from upm_cli.tui.board import Board
from upm_cli.tui.drift_rows import strip_rows
from upm_cli.tui.flow import Flow
from upm_cli.tui.lineage import lineage
from upm_cli.tui.text import age, bars, short, signed
from upm_cli.tui.theme import UPM, terminal_theme
from upm_cli.tui.views import Contest
from upm_cli.tui.widgets.rows import Column, fit

COLUMNS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4), st.integers(0, 10)), min_size=1, max_size=9).map(
    lambda rows: [(Column(f"c{n}", "", rank=rank, least=least), wide) for n, (wide, rank, least) in enumerate(rows)]
)


@given(COLUMNS, st.integers(1, 200))
def test_columns_fit_the_room_and_the_important_ones_stay(found: list[tuple[Column, int]], room: int) -> None:
    columns = [column for column, _ in found]
    needed = {column.key: wide for column, wide in found}
    widths = fit(columns, needed, room)
    must = [column for column in columns if column.rank == 0]
    assert all(column.key in widths for column in must)
    assert list(widths) == [column.key for column in columns if column.key in widths]
    assert all(1 <= width <= needed[key] for key, width in widths.items())
    least = sum(min(needed[c.key], c.least or needed[c.key]) + 2 for c in must)
    if least <= room:
        assert sum(widths.values()) + 2 * len(widths) <= room
    for column in columns:  # one that is left out would not have fitted beside those that are at least as important
        if column.key not in widths:
            smallest = min(needed[column.key], column.least or needed[column.key]) + 2
            others = sum(
                min(needed[c.key], c.least or needed[c.key]) + 2
                for c in columns
                if c.key in widths and c.rank <= column.rank
            )
            assert others + smallest > room


def test_two_columns_that_are_cut_share_what_is_left() -> None:
    columns = [Column("gate", "Gate"), Column("why", "Why", least=10), Column("what", "What", least=10)]
    assert fit(columns, {"gate": 8, "why": 90, "what": 40}, 80) == {"gate": 8, "why": 33, "what": 33}
    assert fit(columns, {"gate": 8, "why": 90, "what": 20}, 80) == {"gate": 8, "why": 46, "what": 20}


def test_bars_tell_how_near_the_limit_a_value_is_with_signs_and_colours() -> None:
    found = bars([0.0, 0.05, 0.1, 0.17, 0.2, 0.9, None], 0.2)
    assert found.plain == "▁▃▅▇██·"
    styles = {found.plain[span.start] + str(span.start): str(span.style) for span in found.spans}
    assert styles == {
        "▁0": "green",
        "▃1": "green",
        "▅2": "green",
        "▇3": "yellow",
        "█4": "red",
        "█5": "red",
        "·6": "dim",
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (9.9, "9s"), (60, "1m"), (3_599, "59m"), (3_660, "1h01m"), (86_400, "1d"), (100_000, "1d3h")],
)
def test_ages_are_told_in_their_largest_units(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_differences_have_a_sign_and_counts_stay_short() -> None:
    assert [signed(0.5), signed(-0.25, 4), signed(None)] == ["+0.500", "-0.2500", "—"]
    assert [short(99_999), short(123_456), short(12_345_678)] == ["99,999", "123k", "12.3M"]


def contest(value: float | None, low: float | None, high: float | None, verdict: str = "fail") -> Contest:
    return Contest(
        kind="lineage",
        contest_id="lineage/5/lineage/9",
        verdict=verdict,
        windows=1500,
        value=value,
        low=low,
        high=high,
        limit=0.01,
        headline="lineage against v5: fail | mean excess",
        reasons=("bad scores rose",),
    )


def test_intervals_are_drawn_on_one_scale_with_zero_and_the_limit() -> None:
    first, why, second, _ = contests.lines(
        [contest(0.05, 0.03, 0.08), contest(-0.02, -0.03, -0.01)], 110, is_short=False
    )
    assert "✗ fail" in first.plain
    assert "lineage vs v5" in first.plain
    assert first.plain.index("│") == second.plain.index("│")
    assert first.plain.index("┊") == second.plain.index("┊") > first.plain.index("│")
    assert second.plain.index("├") < second.plain.index("●") < second.plain.index("┤") < second.plain.index("│")
    assert first.plain.index("┊") < first.plain.index("├") < first.plain.index("●")
    assert "+0.050 [+0.030, +0.080] ≤ 0.01  n 1,500" in first.plain
    assert "bad scores rose" in why.plain
    assert all(line.cell_len <= 110 for line in (first, second))


def test_a_contest_without_numbers_has_no_interval_and_no_contest_no_lines() -> None:
    (line,) = contests.lines([contest(None, None, None, "unknown")], 100, is_short=True)
    assert "●" not in line.plain
    assert "? unknown" in line.plain
    assert contests.lines([], 80, is_short=True) == []


def stage(status: str, percent: int, need_h: int = 24) -> dict[str, Any]:
    ring = "shadow" if percent == 0 else "canary" if percent < 50 else "global"
    return {"status": status, "ring": ring, "percent": percent, "need_ms": need_h * 3_600_000}


STAGES = [stage("done", 0, 0), stage("done", 1), stage("current", 5), stage("ahead", 25), stage("ahead", 100, 0)]
SHOWN = {"shadow_ms": 0, "min_shadow_ms": 336 * 3_600_000, "held_ms": 3_600_000}


@pytest.mark.parametrize("width", [30, 48, 60, 80, 120, 200])
def test_stages_stay_in_order_and_in_the_room(width: int) -> None:
    lines = rollout_text.bar(STAGES, SHOWN, width)
    assert lines[0].plain.replace("━", " ").replace("─", " ").split() == [
        "✓", "shadow", "✓", "1%", "▶", "5%", "○", "25%", "○", "100%",
    ]  # fmt: skip
    assert all(line.cell_len <= max(width, 44) for line in lines)
    if len(lines) == 2:
        assert lines[1].plain.split() == ["14d", "1d", "1h/1d", "1d"]


def shot(version: int, parent: int | None, **more: Any) -> Snapshot:
    return Snapshot(
        trainer="main", version=version, mode=Mode.ACTIVE, digest="d" * 64, file_digest="", codec="none", path="",
        size_bytes=1, raw_bytes=1, parent=parent, **more,
    )  # fmt: skip


def test_a_lineage_shows_what_a_rollback_left_beside_the_line_that_goes_on() -> None:
    shots = [shot(5, 2), shot(4, 3, quarantined=True), shot(3, 2), shot(2, 1, pinned=True), shot(1, None)]
    details = {"main": {"active": {"global": 5}, "lineage": [{"last_version": 4, "to_version": 2}]}}
    board = Board(overview={}, details=details, trainer="main", snapshots=tuple(shots))
    lines = lineage(shots, board, 5, 9).plain.splitlines()
    assert lines[0].startswith("●   v0005 from v0002  live global")
    assert lines[1].startswith("│ ◆ v0004  quarantined")
    assert lines[2].startswith("│ ○ v0003")
    assert lines[3].startswith("○   v0002") and lines[3].endswith("pinned")
    assert len(lineage(shots, board, 1, 2).plain.splitlines()) == 2


def test_strips_show_the_newest_windows_in_the_room_there_is() -> None:
    strip = Strip(name="a tenant with a long name", values=tuple(n / 100 for n in range(48)), limit=0.2, n=9, total=99)
    for width in (30, 60, 120):
        (row,) = strip_rows([strip], width).values()
        assert row.cells["strip"].plain.endswith("█")
        assert row.cells["newest"].plain == "✗ 0.470"
        assert row.cells["name"].cell_len + row.cells["strip"].cell_len + 14 <= max(width, 34)


@given(st.text(st.characters(min_codepoint=0x2500, max_codepoint=0x28FF)))
def test_signs_become_ascii_one_for_one(drawn: str) -> None:
    assert len(plain_signs(drawn)) == len(drawn)
    known = "".join(c for c in drawn if ord(c) in TABLE or ord(c) >= 0x2800)
    assert plain_signs(known).isascii()


def test_letters_of_any_language_are_no_signs() -> None:
    assert plain_signs("Grüße, 日本, ελ ✓") == "Grüße, 日本, ελ v"
    assert all(len(plain) == 1 or ord(sign) > 0xFFFF for sign, plain in ((chr(k), v) for k, v in TABLE.items()))


def test_red_is_the_red_of_every_theme() -> None:
    for theme in (UPM, *(each for each in BUILTIN_THEMES.values() if not each.ansi)):
        colours = terminal_theme(theme)
        assert colours.ansi_colors[1] != colours.background_color
        assert colours.ansi_colors[1] != colours.ansi_colors[2]


def test_the_flow_counts_a_look_a_second_and_forgets_hurried_ones() -> None:
    flow = Flow()
    assert (flow.now, flow.recent(3)) == (0.0, ())
    for n, rate in enumerate((10.0, 20.0, 30.0, 40.0)):
        flow.note({"trainers": [{"windows_per_s": rate}, {"windows_per_s": 1.0}]}, 1000 * n)
        flow.note({"trainers": [{"windows_per_s": 999.0}]}, 1000 * n + 100)
    assert flow.recent(2) == (31.0, 41.0)
    assert flow.now == pytest.approx((21 + 31 + 41) / 3)
    assert Text(short(flow.now)).plain == "31"

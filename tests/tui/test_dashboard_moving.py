"""Finding one's way: filters, places to go, the palette, sorting, widths, freezing, copying, pictures."""

import re
from pathlib import Path
from typing import Any

import pytest
from boards import board
from textual.widgets import Input

from upm_cli.app import build
from upm_cli.commands._times import moment_ms
from upm_cli.commands.tui import _commands
from upm_cli.tui.palette import KEY_OF
from upm_cli.tui.screens.detail import Detail
from upm_cli.tui.screens.prompt import Prompt


def names(hand: Any) -> list[str]:
    """Return the names of the rows that are shown, in their order."""
    return list(hand.app.base.listing.rows._names)


async def prompted(hand: Any, sign: str, text: str) -> None:
    await hand.press(sign)
    assert isinstance(hand.app.screen, Prompt)
    await hand.type(text)


def test_a_filter_shows_what_fits_while_it_is_typed_and_escape_takes_it_away(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, "/", "sear")
        assert names(hand) == ["search"]
        await hand.press("enter")
        await hand.sees("1 of 4", "/sear")
        await hand.press("/")
        assert hand.app.screen.query_one(Input).value == "sear"
        await hand.press("escape")
        assert names(hand) == ["search"]  # as it was before the prompt
        await hand.press("escape")
        assert len(names(hand)) == 4

    show(board(), steps)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("!search", ["fraud-detection-europe", "main", "fresh"]),
        ("~frde", ["fraud-detection-europe"]),
        ("state=paused", ["fraud-detection-europe"]),
        ("mode=canary !state=quarantined", ["main", "fresh"]),
        ("^.*idle", ["fresh"]),
        ("nothing-like-it", []),
    ],
)
def test_filters_are_regular_inverse_fuzzy_or_of_a_field(show: Any, text: str, found: list[str]) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, "/", text)
        await hand.press("enter")
        assert names(hand) == found
        if not found:
            await hand.sees("None of 4 fits", "Esc takes the filter away")

    show(board(), steps)


def test_a_wrong_filter_says_what_is_wrong_and_shows_what_was_shown(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, "/", "sea[")
        await hand.sees("'sea[' is no regular expression")
        assert names(hand) == ["search"]

    show(board(), steps)


def test_a_filter_is_for_the_list_one_is_in(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("4", "tab")
        await prompted(hand, "/", "bank")
        await hand.press("enter")
        assert names(hand) == ["bank"]
        await hand.press("shift+tab")
        assert len(names(hand)) == 5

    show(board(), steps, (120, 36))


def test_goto_leads_to_screens_trainers_rows_and_filters(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, ":", "agents tenant=acme status=errored")
        await hand.press("enter")
        assert hand.app.base.NAME == "agents"
        assert names(hand) == ["edge-3 acme"]
        await prompted(hand, ":", "snap search v129")
        await hand.press("enter")
        assert (hand.app.base.NAME, hand.app.base.listing.current) == ("snapshots", "129")
        await prompted(hand, ":", "main")
        await hand.press("enter")
        assert (hand.app.base.NAME, hand.app._wanted) == ("overview", "main")
        await prompted(hand, ":", "ev")
        await hand.press("right", "enter")  # takes the suggestion
        assert hand.app.base.NAME == "events"
        await prompted(hand, ":", "theme nord")
        await hand.press("enter")
        assert hand.app.theme == "nord"
        await prompted(hand, ":", "help")
        await hand.press("enter")
        await hand.sees("Help  Events")

    show(board(), steps)


def test_goto_says_what_is_wrong_before_it_goes(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, ":", "rolout")
        await hand.press("enter")
        await hand.sees("did you mean :rollout?")
        assert isinstance(hand.app.screen, Prompt)
        await hand.press("escape")
        assert hand.app.base.NAME == "overview"
        await prompted(hand, ":", "q")
        await hand.press("enter")
        assert not hand.app.is_running or hand.app._exit

    show(board(), steps)


def test_o_sorts_by_each_column_both_ways_and_in_the_end_worst_first(show: Any) -> None:
    async def steps(hand: Any) -> None:
        worst_first, seen = names(hand), []
        for _ in range(40):
            await hand.press("o")
            seen.append(names(hand))
            if names(hand) == worst_first and hand.app.base.listing._sort is None:
                break
        assert ["fraud-detection-europe", "fresh", "main", "search"] in seen
        assert ["search", "main", "fresh", "fraud-detection-europe"] in seen
        assert hand.app.base.listing._sort is None
        await hand.press("o", "o")
        await hand.sees("by State ▼")

    show(board(), steps)


def test_w_shows_every_column_and_the_list_scrolls_sideways_then(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("2")
        assert "Digest" not in hand.text
        await hand.press("w")
        rows = hand.app.base.listing.rows
        assert "digest" in rows._widths
        await hand.settle()
        assert rows.show_horizontal_scrollbar
        await hand.press("w")
        assert "digest" not in rows._widths

    show(board(), steps)


def test_the_cursor_keys_move_it_and_a_click_does_too(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("2")
        rows = hand.app.base.listing.rows
        for key, expected in (("j", 1), ("down", 2), ("k", 1), ("G", 40), ("g", 0), ("pagedown", 10), ("end", 40)):
            await hand.press(key)
            assert rows._cursor == expected, key
        await hand.press("home")
        await hand.pilot.click(rows, offset=(3, 4))
        await hand.settle()
        assert rows.current == "128"
        await hand.pilot.click(rows, offset=(3, 4))
        await hand.settle()  # once more: into it
        assert isinstance(hand.app.screen, Detail) or hand.app._notifications

    show(board(), steps)


def test_a_click_on_the_keys_is_a_key(show: Any) -> None:
    async def steps(hand: Any) -> None:
        line = hand.text.splitlines()[-1]
        await hand.pilot.click("#keys", offset=(line.index("3"), 0))
        await hand.settle()
        assert hand.app.base.NAME == "drift"

    show(board(), steps)


def test_space_freezes_the_screen_until_it_is_pressed_again(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("space")
        await hand.sees("FROZEN")
        bench.cli("pause", "main")
        bench.clock.sleep(7)
        hand.app.refresh_board()
        await hand.settle()
        await hand.sees("○ idle", "· 7s")
        await hand.press("space")
        await hand.sees("‖ paused", "↻1s")

    bench.drive(steps)


def test_y_copies_the_command_of_each_screen_and_pane(show: Any) -> None:
    expected = {
        "1": ["upm status"],
        "2": ["upm snapshot list search"],
        "3": [
            "upm drift-report search --plot",
            "upm drift-report search --by tenant",
            "upm drift-report search --by feature",
        ],
        "4": ["upm rollout status search", "upm tenant list search", "upm rollout history search"],
        "5": ["upm sync status"],
        "6": ["upm events"],
        "7": ["upm status"],
    }

    async def steps(hand: Any) -> None:
        for key, commands in expected.items():
            await hand.press(key)
            for command in commands:
                await hand.press("y")
                assert hand.app.clipboard == command
                await hand.press("tab")
        await hand.press("6", "enter", "y")
        assert hand.app.clipboard == "upm explain 7"

    show(board(), steps)


def test_ctrl_s_saves_a_picture_that_is_one(show: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(hand: Any) -> None:
        await hand.press("3", "ctrl+s")
        await hand.hears("saved ")

    show(board(), steps)
    (picture,) = tmp_path.glob("upm-drift-*.svg")
    assert picture.read_text().startswith("<svg")
    assert "Drift" in picture.read_text()
    assert picture.stat().st_mode & 0o777 == 0o600


def test_t_lists_the_themes_and_takes_the_chosen_one(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("t")
        await hand.sees("Search for themes")
        await hand.type("nord")
        await hand.press("enter")
        await hand.settle()
        assert hand.app.theme == "nord"

    show(board(), steps)


def test_the_palette_has_every_command_of_upm_with_its_key(bench: Any) -> None:
    commands = _commands(build())
    assert {"status", "snapshot pin", "rollout promote", "drift-report", "audit verify", "tui"} <= {
        each.name for each in commands
    }
    assert {name for name in KEY_OF if name.split()[0] not in ("adapter", "sync", "ps")} <= {
        each.name for each in commands
    }

    async def steps(hand: Any) -> None:
        await hand.press("ctrl+p")
        await hand.type("audit verify")
        await hand.sees("upm audit verify", "Prove the ledger")
        await hand.press("enter")
        await hand.settle()
        await hand.sees("upm audit verify", "--anchor", "Esc closes")
        await hand.press("y")
        assert hand.app.clipboard == "upm audit verify"
        await hand.press("ctrl+p")
        await hand.type("upm drift-report")
        await hand.press("enter")
        await hand.settle()
        assert hand.app.base.NAME == "drift"  # its key is 3, so that is pressed

    bench.drive(steps, commands=lambda: commands)


def test_every_key_has_a_line_in_some_help_or_at_the_bottom(show: Any) -> None:
    from upm_cli.tui.keys import EVERY

    async def steps(hand: Any) -> None:
        seen = ""
        for screen in "1234567":
            await hand.press(screen)
            seen += hand.text.splitlines()[-1]
            await hand.press("?")
            seen += hand.text
            await hand.press("escape")
        shown = {key.name for key in EVERY.values() if "," not in key.name}
        spoken = {"tab": "Tab", "shift+tab": "Tab", "enter": "Enter", "space": "space", "Esc": "Esc"}
        missing = [name for name in shown if spoken.get(name, name) not in seen]
        assert not missing

    show(board(), steps)


def test_at_in_the_prompt_takes_times_as_the_command_line_does(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await prompted(hand, ":", "at 3 moons ago")
        await hand.press("enter")
        await hand.sees("is no time")
        await hand.press("escape")
        await prompted(hand, ":", "at 25h")
        await hand.press("enter")
        await hand.sees("AS OF 12-31")

    bench.drive(steps, moment=lambda text, now_ms: moment_ms(text, now_ms, "the time"))


def test_no_prompt_hides_more_than_the_keys(show: Any) -> None:
    async def steps(hand: Any) -> None:
        before = hand.text.splitlines()[:-1]
        await hand.press("/")
        assert hand.text.splitlines()[:-1] == before
        assert re.match(r"^ /", hand.text.splitlines()[-1])

    show(board(), steps)


def test_escape_takes_away_what_is_said_in_the_corner(show: Any) -> None:
    async def steps(hand: Any) -> None:
        hand.app.say("trainer main has no rollout", severity="error", seconds=3600)
        await hand.settle()
        assert "no rollout" in hand.said
        await hand.press("escape")
        assert hand.said == ""

    show(board(), steps)

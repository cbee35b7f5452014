"""What the screens look like at 80x24, 120x36 and 200x50, compared with the files in captures/.

After a wanted change: UPM_UPDATE_CAPTURES=1 python -m pytest tests/tui/test_dashboard_looks.py, then read the diff.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from boards import STAGES, WAVE, board, past, trainer
from textual.widgets import Input

from upm_cli.errors import RefusedError
from upm_cli.tui.plan import Plan, refusal
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.refused import Refused

CAPTURES = Path(__file__).parent / "captures"
SIZES = [(80, 24), (120, 36), (200, 50)]
SCREENS = ("overview", "snapshots", "drift", "rollout", "agents", "events", "workers")
DRAWN = "─│╭╮╰╯┤├└▁▂▃▄▅▆▇█●○◆◐‖✓✗▶▼◀→←·…≥≤↻›┊╌━▎▌"


def of(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def differs(name: str, text: str) -> bool:
    """Say whether `text` is not what the file `name` has; with UPM_UPDATE_CAPTURES it is from now on."""
    path = CAPTURES / f"{name}.txt"
    if os.environ.get("UPM_UPDATE_CAPTURES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return not path.exists() or text != path.read_text()


def compare(name: str, text: str) -> None:
    if differs(name, text):
        raise AssertionError(f"{name} looks different; is that wanted? See the docstring of this module\n{text}")


def no_sideways_scrolling(hand: Any) -> bool:
    return not any(widget.show_horizontal_scrollbar for widget in hand.app.screen.walk_children())


@pytest.mark.parametrize("size", SIZES, ids=of)
def test_screens_look_as_they_should(show: Any, size: tuple[int, int]) -> None:
    async def steps(hand: Any) -> None:
        different = []
        for n, screen in enumerate(SCREENS, 1):
            await hand.press(str(n))
            assert no_sideways_scrolling(hand)
            if differs(f"{screen}-{of(size)}", hand.text):
                different.append(f"{screen}\n{hand.text}")
        assert not different, f"these look different; is that wanted? {''.join(different)}"

    show(board(), steps, size)


def test_the_past_looks_like_the_past(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("AS OF 12-31 22:00:00Z · 2h00m ago")
        compare("past-80x24", hand.text)

    show(past(), steps)


@pytest.mark.parametrize("size", SIZES, ids=of)
def test_no_column_is_cut_however_long_the_values_are(show: Any, size: tuple[int, int]) -> None:
    stage = {"kind": "canary", "percent": 99, "rollout": None}
    longest = {"mode": "shadow", "active": 9_999, "stage": stage, "rate": 99_999}
    rows = [trainer(f"{'x' * 60}-{n}", "quarantined", WAVE, lag=12_345_678, **longest) for n in range(60)]
    full = replace(
        board(),
        overview={**board().overview, "trainers": [row for row, _ in rows]},
        details={row["name"]: details for row, details in rows},
        trainer=rows[0][0]["name"],
    )

    async def steps(hand: Any) -> None:
        await hand.sees("State", "Drift P95", "◆ quarantined", "0.280")
        assert no_sideways_scrolling(hand)
        await hand.press("w")
        await hand.sees("State", "Trainer")

    show(full, steps, size)


def test_a_resized_screen_looks_as_one_that_was_so_from_the_start(show: Any) -> None:
    async def steps(hand: Any) -> None:
        for screen in ("1", "3", "4"):
            await hand.press(screen)
            name = SCREENS[int(screen) - 1]
            for width, height in (*SIZES, *reversed(SIZES)):
                await hand.pilot.resize_terminal(width, height)
                await hand.settle()
                await hand.sees((CAPTURES / f"{name}-{width}x{height}.txt").read_text())

    show(board(), steps, (100, 30))


@pytest.mark.parametrize("size", SIZES, ids=of)
def test_ascii_mode_draws_with_ascii_only(show: Any, size: tuple[int, int]) -> None:
    async def steps(hand: Any) -> None:
        for key in ("1", "2", "3", "4", "5", "6", "7"):
            await hand.press(key)
            assert not set(DRAWN) & set(hand.text)
            assert not any(0x2500 <= ord(c) <= 0x28FF for c in hand.text)
        await hand.press("1", "?")
        assert not any(0x2500 <= ord(c) <= 0x28FF for c in hand.text)
        await hand.press("escape", "ctrl+p")
        assert not any(0x2500 <= ord(c) <= 0x28FF for c in hand.text)
        await hand.press("escape")
        if size == SIZES[0]:
            compare("overview-ascii-80x24", hand.text)

    show(board(), steps, size, is_ascii=True)


def is_whole(text: str, title: str) -> bool:
    """Say whether a box with this title has all its corners on the screen."""
    lines = text.splitlines()
    top = next(n for n, line in enumerate(lines) if title in line and "╭" in line)
    left, right = lines[top].index("╭", max(0, lines[top].index(title) - 4)), lines[top].rindex("╮")
    return (
        any(len(line) > left and line[left] == "╰" and "╯" in line[left:] for line in lines[top + 1 :]) and right <= 79
    )


PLAN = Plan(
    title="Roll back search",
    verb="Roll back",
    facts=(
        ("from", "v131 · 1,179,000 windows · loss 0.284 · 1.6 MiB"),
        ("drift", "P95 0.280, limit 0.2, 1,200 samples"),
        ("to", "v130 · 1,170,000 windows · loss 0.284 · proven ✓"),
        ("because", "it was live in global (epoch 3)"),
        ("where", "global, which is pinned then"),
        ("agents", "17 agents get it next"),
        ("after", "v131 is quarantined; learns on from v130"),
        ("skips", "every word of a long reason for a quarantine that somebody gave " * 4),
    ),
    words=("rollback", "search", "--to", "130", "--ring", "global"),
    act=lambda reason: reason,
)


def test_the_longest_question_fits_the_smallest_screen(show: Any) -> None:
    async def steps(hand: Any) -> None:
        hand.app.push_screen(Confirm(PLAN, hand.app.project))
        await hand.sees("Cancel", "y  Roll back", "The same as: upm rollback search --to 130")
        compare("question-80x24", hand.text)
        assert is_whole(hand.text, "Roll back search")
        hand.app.screen.query_one(Input).value = "x" * 120
        await hand.sees("Cancel", "y  Roll back", "--yes")
        await hand.press("escape")
        past_a_gate = replace(PLAN, title="Activate v131", type_name="search", needs_reason=True)
        hand.app.push_screen(Confirm(past_a_gate, hand.app.project))
        await hand.sees("type search to go past the gate", "needed")
        await hand.press("enter", "enter", "y")
        await hand.sees("Give a reason first")
        compare("question-past-a-gate-80x24", hand.text)
        assert is_whole(hand.text, "Activate v131")

    show(board(), steps)


def test_the_longest_refusal_fits_the_smallest_screen(show: Any) -> None:
    gates = [
        {
            "gate": name,
            "allowed": False,
            "detail": f"what {name} says " * 6,
            "satisfy": f"what opens {name} " * 4,
            "n": 7,
        }
        for name in ("evidence", "policy", "readiness", "freeze")
    ]
    error = RefusedError("no", context={"gates": [*gates, {"gate": "bytes", "allowed": True, "detail": "fine"}]})
    found = refusal(error, "activate v131 of search", ("activate", "search", "131"), lambda project, name: PLAN)

    async def steps(hand: Any) -> None:
        hand.app.push_screen(Refused(found, hand.app.project))
        await hand.sees("Refused: activate v131 of search", "✗ evidence", "→ what opens", "e excepts them")
        assert is_whole(hand.text, "Refused")
        await hand.press(*"jjjjjjjjjjjj")
        await hand.sees("✓ bytes")

    show(board(), steps)


def test_help_of_every_screen_fits_the_smallest_screen(show: Any) -> None:
    async def steps(hand: Any) -> None:
        for n, screen in enumerate(SCREENS, 1):
            await hand.press(str(n), "?")
            await hand.sees("Esc closes", "upm rollback search", "upm snapshot release", "Here")
            compare(f"help-{screen}-80x24", hand.text)
            assert is_whole(hand.text, "Help")
            await hand.press("escape")

    show(board(), steps)


def test_colour_is_never_needed_to_tell_states_apart(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("◆ quarantined", "● training", "‖ paused", "○ idle")
        await hand.press("5")
        await hand.sees("✗ errored", "○ pending", "◐ syncing", "● synced", "✗ broken")
        await hand.press("7")
        await hand.sees("✗ failed", "✗ died", "! silent", "● training", "○ stopped")
        await hand.press("4")
        await hand.sees("✗ no", "? unknown", "… wait", "✓ yes", "✓ shadow", "▶ 10%", "○ 100%")

    show(board(), steps, (120, 36))


def test_the_worst_comes_first_everywhere(show: Any) -> None:
    firsts = {"1": "quarantined", "3": "fail", "4": "no", "5": "errored", "7": "failed"}

    async def steps(hand: Any) -> None:
        for key, word in firsts.items():
            await hand.press(key)
            rows = hand.app.base.listing.rows
            assert word in " ".join(cell.plain for cell in rows._rows[rows._names[0]].values()), key

    show(board(), steps, (120, 36))


def test_every_theme_draws_every_screen(show: Any) -> None:
    async def steps(hand: Any) -> None:
        for theme in ("textual-light", "ansi-dark", "nord", "upm"):
            hand.app.theme = theme
            await hand.settle()
            for key in "137":
                await hand.press(key)
                assert hand.text.count("╭") >= 1
        compare("workers-80x24", hand.text)

    show(board(), steps)


def test_the_cursor_chooses_whose_drift_is_shown(show: Any) -> None:
    asked = []

    async def steps(hand: Any) -> None:
        read = hand.app._reader.read
        hand.app._reader.read = lambda wanted, parts: asked.append(wanted) or read(wanted, parts)
        await hand.press("j", "j", "k")
        assert asked[-1] == "fraud-detection-europe"
        await hand.press(">")
        assert asked[-1] == "main"
        await hand.press("3", "<", "<")
        assert asked[-1] == "search"

    show(board(), steps)


def test_stages_of_the_board_are_those_of_the_settings() -> None:
    from upm_cli.config.schema import Settings
    from upm_cli.ops.rollout_policy import policy_of

    assert tuple(stage.name for stage in policy_of(Settings()).stages) == STAGES

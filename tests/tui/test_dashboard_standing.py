"""The dashboard stands whatever happens to the project, the terminal or the workers while it is open."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import Bench, Hand
from upm_cli.store import lease, runfiles
from upm_cli.tui.app import SCREENS
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.help import Help
from upm_cli.tui.screens.prompt import Prompt

KEYS = [str(n) for n in range(1, len(SCREENS) + 1)]
SEEN = {
    "1": "main",
    "2": "v0004",
    "3": "Drift P95",
    "4": "Rollout",
    "5": "Agents",
    "6": "snapshot.created",
    "7": "main",
}


def everywhere(does: Callable[[Hand, str], Any]) -> Callable[[Hand], Any]:
    """Do something on each of the seven screens."""

    async def steps(hand: Hand) -> None:
        for key in KEYS:
            await hand.press(key)
            await hand.sees(SEEN[key])
            await does(hand, key)
            assert hand.app.is_running
            assert len(hand.text.splitlines()) <= hand.app.size.height

    return steps


def test_the_state_folder_may_vanish_and_come_back_on_any_screen(bench: Bench) -> None:
    home, hidden = bench.folder / ".upm", bench.folder / "hidden"

    async def vanishes(hand: Hand, key: str) -> None:
        home.rename(hidden)
        bench.clock.sleep(7)
        await hand.pilot.press("j", "s", "v", "?", "escape")
        await hand.look()
        await hand.sees("no state in", "stale 7s", SEEN[key])
        assert hand.app.main.has_class("-trouble")  # what was known is greyed
        assert not home.exists()
        hidden.rename(home)
        await hand.look()
        assert "stale" not in hand.text
        assert not hand.app.main.has_class("-trouble")

    bench.drive(everywhere(vanishes), (120, 36))


def test_a_state_that_does_not_open_is_told_with_what_to_do_on_any_screen(bench: Bench) -> None:
    state = bench.folder / ".upm" / "state.duckdb"
    whole = state.read_bytes()

    async def is_damaged(hand: Hand, key: str) -> None:
        replaced(state, b"not a database" * 1000)
        await hand.look()
        await hand.press("s", "j")
        await hand.sees("✗", "upm doctor", SEEN[key])
        replaced(state, whole)
        await hand.look()
        assert not hand.app.main.has_class("-trouble")

    bench.drive(everywhere(is_damaged), (120, 36))


def replaced(path: Path, data: bytes) -> None:
    """Put another file in the place of `path`, as whatever restores or ruins a state does."""
    path.with_name("new").write_bytes(data)
    path.with_name("new").replace(path)


DAMAGED = ("", "{", "[1, 2]", "\0\0\0", '{"worker": 7}', '{"worker": "trainer-main", "at_ms": "x"}',
           '{"worker": "x", "lease": "../x"}', '{"worker": "x", "lease": "x", "pid": "x", "rate": []}')  # fmt: skip


def test_a_damaged_status_file_of_a_worker_hurts_nobody(bench: Bench) -> None:
    async def steps(hand: Hand) -> None:
        await hand.press("7")
        for text in DAMAGED:
            (bench.folder / ".upm" / "run" / "trainer-main.json").write_text(text)
            await hand.look()
            await hand.sees("ingest-main", "drift-main")
            await hand.press("1")
            await hand.sees("○ idle")
            await hand.press("7")

    bench.drive(steps)


def test_settings_that_can_not_be_read_any_more_do_not_hurt_an_open_dashboard(bench: Bench) -> None:
    async def looks(hand: Hand, key: str) -> None:
        await hand.look()
        await hand.sees(SEEN[key])

    async def steps(hand: Hand) -> None:
        (bench.folder / "upm.yaml").write_text("supervisor: [")
        await everywhere(looks)(hand)

    bench.drive(steps)


def test_workers_that_end_or_are_killed_meanwhile_are_told_on_any_screen(bench: Bench) -> None:
    home = bench.folder / ".upm"
    with ExitStack() as workers:
        for n, name in enumerate(("ingest-main", "trainer-main", "drift-main")):
            workers.enter_context(lease.acquire(home, name, f"upm worker {name}"))
            said = {"lease": name, "trainer": "main", "at_ms": bench.clock.now_ms(), "rate": 12.0, "pid": 901 + n}
            runfiles.write_status(home, name, {**said, "state": "stopped" if n == 2 else "training"})

        async def steps(hand: Hand) -> None:
            await everywhere(lambda hand, key: hand.sees("● 3 workers"))(hand)
            workers.close()  # as if they were killed: nobody says goodbye
            bench.clock.sleep(95)
            await hand.look()
            await everywhere(lambda hand, key: hand.sees("✗ 2 workers down"))(hand)
            await hand.sees("✗ died", "○ stopped", "1m ago")

        bench.drive(steps, (120, 36))


@pytest.mark.parametrize("size", [(40, 10), (300, 80)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_tiny_or_a_huge_terminal_is_only_less_or_more_room(bench: Bench, size: tuple[int, int]) -> None:
    async def steps(hand: Hand) -> None:
        for key in KEYS:
            await hand.pilot.press(key, "j", "w", "w", "tab", "enter", "escape", "question_mark", "escape")
            await hand.settle()
            assert max(map(len, hand.text.splitlines())) <= size[0]
            assert len(hand.text.splitlines()) <= size[1]
        await hand.press("1", "a", "escape")
        await hand.pilot.press("slash", "escape", "colon", "escape", "ctrl+p", "escape")
        await hand.settle()

    bench.drive(steps, size)


def test_the_question_can_be_answered_on_a_tiny_terminal(bench: Bench) -> None:
    async def steps(hand: Hand) -> None:
        await hand.press("p")
        await hand.sees("Pause main", "Cancel", "y  Pause")
        await hand.press("y")

    bench.drive(steps, (40, 10))
    assert bench.trainer().desired == "pause"


def test_the_terminal_may_change_its_size_while_a_dialog_is_open(bench: Bench) -> None:
    async def steps(hand: Hand) -> None:
        for keys, kind in (("a", Confirm), ("question_mark", Help), ("colon", Prompt)):
            await hand.press(keys)
            for size in ((40, 10), (300, 80), (80, 24)):
                await hand.pilot.resize_terminal(*size)
                await hand.settle()
                assert isinstance(hand.app.screen, kind)
                assert max(map(len, hand.text.splitlines())) <= size[0]
            await hand.press("escape")
        await hand.sees("Trainers")

    bench.drive(steps)


def test_signs_and_colours_may_be_missing_on_any_screen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def is_plain(hand: Hand, key: str) -> None:
        assert not any(0x2000 <= ord(c) <= 0x2FFF for c in hand.text), hand.text

    bench.drive(everywhere(is_plain), is_ascii=True)

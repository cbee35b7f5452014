"""How the dashboard reads: in threads, only what changed, and never dying of what it finds."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.ops import status
from upm_cli.ops.strips import Strips
from upm_cli.store import lease, runfiles
from upm_cli.tui.board import Part
from upm_cli.tui.board_reader import BoardReader
from upm_cli.tui.text import plain, size

EVERYTHING = frozenset(Part)


def test_the_board_is_what_the_status_command_prints(bench: Any) -> None:
    project = bench.project()
    board = BoardReader(project).read(None, EVERYTHING)
    told = status.overview(bench.store, bench.clock, project.settings)
    assert {**board.overview, "adapters": board.fleet} == told
    assert board.details["main"] == status.trainer_details(bench.store, project.settings, "main")
    assert [shot.version for shot in board.snapshots] == [4, 3, 2, 1]
    assert [event.kind for event in board.events].count("snapshot.created") == 4


def test_trainer_snapshots_worker_and_commands_mean_the_same_by_loss(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.cli("snapshot", "create", "main")
    board = BoardReader(bench.project()).read(None, EVERYTHING)
    loss = board.overview["trainers"][0]["loss"]["progressive"]
    assert loss == pytest.approx(board.snapshots[0].metrics["loss"]["progressive"], rel=1e-6)
    said = next(row["loss"] for row in board.overview["workers"] if row["worker"] == "trainer-main")
    assert said == loss
    for words in (["trainer", "list"], ["snapshot", "list", "main"]):
        assert main([*words, "-C", str(bench.folder), "-o", "table"]) == 0
        assert f"{loss:.4f}" in capsys.readouterr().out


def test_the_state_is_read_again_only_when_it_changed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    whole = status.all_trainers
    monkeypatch.setattr(status, "all_trainers", lambda *given: reads.append(given) or whole(*given))
    reader = BoardReader(bench.project())
    first = reader.read(None, EVERYTHING)
    assert reader.read(None, EVERYTHING).events is first.events
    assert len(reads) == 1
    bench.cli("pause", "main")
    assert reader.read(None, EVERYTHING).details["main"]["desired"] == "pause"
    assert len(reads) == 2


def test_somebody_who_begins_to_train_is_seen_though_the_state_is_the_same(bench: Any) -> None:
    reader = BoardReader(bench.project())
    assert reader.read(None, EVERYTHING).details["main"]["state"] == "idle"
    with lease.acquire(bench.store.home, "train-main", "upm train main"):
        assert reader.read(None, EVERYTHING).details["main"]["state"] == "training"
    assert reader.read(None, EVERYTHING).details["main"]["state"] == "idle"


def test_windows_a_second_are_those_of_the_worker_that_learns(bench: Any) -> None:
    home = bench.store.home
    for worker, rate in (("drift-main", 7.0), ("trainer-main", 655.0)):
        runfiles.write_status(home, worker, {"lease": worker, "trainer": "main", "rate": rate, "at_ms": 0})
    reader = BoardReader(bench.project())
    with lease.acquire(home, "drift-main", "a monitor"), lease.acquire(home, "trainer-main", "a trainer"):
        assert reader.read(None, EVERYTHING).overview["trainers"][0]["windows_per_s"] == 655.0
    assert reader.read(None, EVERYTHING).overview["trainers"][0]["windows_per_s"] == 0.0


def test_nothing_is_read_or_done_on_the_event_loop(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    read, write = bench.store.read, bench.store.write
    monkeypatch.setattr(bench.store, "read", lambda: threads.append(threading.current_thread()) or read())
    monkeypatch.setattr(
        bench.store, "write", lambda **more: threads.append(threading.current_thread()) or write(**more)
    )

    async def steps(hand: Any) -> None:
        loop_thread = threading.current_thread()
        await hand.press("a", "y", "2", "v", "i", "y", "1", "p", "y")
        await hand.look()
        assert len(threads) > 8
        assert loop_thread not in threads

    bench.drive(steps)


def test_a_vanished_state_is_told_and_what_was_read_stays_on_the_screen(bench: Any) -> None:
    hidden = bench.folder / "hidden"

    async def steps(hand: Any) -> None:
        (bench.folder / ".upm").rename(hidden)
        bench.clock.sleep(7)
        for key in "2b1sap":
            await hand.press(key)
            await hand.look()
        await hand.sees("no state in")
        await hand.sees("stale 7s")
        await hand.sees("○ idle")
        assert not (bench.folder / ".upm").exists()
        hidden.rename(bench.folder / ".upm")
        await hand.look()
        assert "stale" not in hand.text
        assert "no state in" not in hand.text.splitlines()[1]

    bench.drive(steps, size=(120, 36))


def test_a_state_that_is_gone_before_the_first_look_is_told_too(bench: Any) -> None:
    shutil.rmtree(bench.folder / ".upm")

    async def steps(hand: Any) -> None:
        await hand.sees("no state in")
        await hand.press("2", "a", "v", "?", "escape")

    bench.drive(steps)


def test_a_project_without_trainers_names_the_next_command(empty: Any) -> None:
    async def steps(hand: Any) -> None:
        for screen in "12":
            await hand.press(screen, "s", "a", "b", "p")
            await hand.sees("No trainers yet.")
            await hand.sees("upm train --source FILE")

    empty.drive(steps)


def test_new_snapshots_appear_by_themselves_and_the_cursor_stays_with_its_row(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("2", "j")
        await hand.sees("main v0003")
        bench.cli("snapshot", "create", "main")
        await hand.look()
        await hand.sees("v0005")
        await hand.sees("╭─ main v0003")

    bench.drive(steps)


def test_enter_goes_into_the_snapshots_of_the_trainer_and_escape_back(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("enter")
        await hand.sees("Snapshots 4", "main v0004")
        await hand.press("escape")
        await hand.sees("Trainers")

    bench.drive(steps)


def test_y_copies_the_command_that_prints_the_screen(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("y")
        assert hand.app.clipboard == "upm status"
        await hand.press("2", "y")
        assert hand.app.clipboard == "upm snapshot list main"
        await hand.hears("upm snapshot list main")

    bench.drive(steps)


def test_no_color_leaves_the_words_and_takes_the_colours(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    bench.cli("pause", "main")

    async def steps(hand: Any) -> None:
        await hand.sees("‖ paused")
        strips = [hand.app.screen._compositor.render_strips()[row] for row in range(24)]
        colours = {
            colour.triplet
            for strip in strips
            for segment in strip.apply_filter(hand.app._filters[-1], hand.app.screen.background_colors[1])
            if segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None and colour.triplet is not None
        }
        assert colours
        assert all(c.red == c.green == c.blue for c in colours)

    bench.drive(steps)


def test_text_from_people_can_not_steer_the_terminal(bench: Any) -> None:
    bench.cli("snapshot", "create", "main", "--note", "\x1b]0;owned\x07 [red]note")
    bench.cli("pause", "main", "--reason", "[bold]why\x1b[2J\u202e")

    async def steps(hand: Any) -> None:
        await hand.sees("[bold]why\\x1b[2J\\u202e")
        await hand.press("2")
        await hand.sees("\\x1b]0;owned\\x07 [red]note")
        await hand.press("p")
        await hand.sees("[bold]why\\x1b[2J\\u202e")
        assert "\x1b" not in hand.text

    bench.drive(steps, size=(120, 36))


@pytest.mark.parametrize("words", [[], ["--read-only"], ["--screen", "snapshots"]])
def test_without_a_terminal_it_says_what_to_use_instead(words: list[str], tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "-q"]) == 0
    script = (
        "import sys; from upm_cli.app import main; code = main(sys.argv[1:]); "
        "print('textual' in sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "tui", *words, "-C", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TERM": "xterm-256color"},
        check=False,
    )
    assert done.returncode == 2
    assert "upm status --json" in done.stderr
    assert done.stdout == "False\n"


def test_an_unknown_screen_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tui", "--screen", "nonsense"]) == 2
    assert "overview, snapshots" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_sizes_are_told_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text


def test_plain_text_is_left_alone_and_controls_are_shown() -> None:
    assert plain("grün — ✓ 日本") == "grün — ✓ 日本"
    assert plain("a\nb\x1b\ud800") == "a\\nb\\x1b\\ud800"


def test_strips_are_read_only_while_somebody_looks_at_them(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    left = threading.Event()

    def read(*_given: Any) -> Iterator[Strips]:
        goes_on = _given[-1]
        yield Strips(trainer="main", starts_ms=(), tenants=())
        reads.append("begun")
        while goes_on() and len(reads) == 1:
            left.wait(0.005)
        reads.append("whole" if goes_on() else "left")

    monkeypatch.setattr("upm_cli.tui.readers.strips.read", read)

    async def steps(hand: Any) -> None:
        await hand.pilot.press("3")
        await hand._wait_for(lambda: " ".join(reads), ("begun",))
        await hand.press("1")
        assert reads == ["begun", "left"]
        await hand.press("3")
        await hand.look()
        assert reads == ["begun", "left", "begun", "whole"]

    bench.drive(steps)

"""What the screens look like at 80x24, 120x36 and 200x50, compared with the files in captures/.

After a wanted change: UPM_UPDATE_CAPTURES=1 python -m pytest tests/tui/test_dashboard_looks.py, then read the diff.
"""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from upm_cli.core.records import Mode, Snapshot, SnapshotStatus
from upm_cli.ids import iso
from upm_cli.ops.report_chart import Bar
from upm_cli.tui.board import Board, Drift
from upm_cli.tui.plans import Plan
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.told import Told

CAPTURES = Path(__file__).parent / "captures"
SIZES = [(80, 24), (120, 36), (200, 50)]
NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
WAVE = [0.08, 0.09, 0.12, 0.11, 0.13, 0.1, 0.09, 0.08, None, 0.12, 0.17, 0.19, 0.24, 0.31, 0.28]


def trainer(name: str, state: str, recent: list[float | None], **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a trainer as the overview and as its details have it; what no screen shows is left out."""
    row = {
        "name": name,
        "state": state,
        "mode": more.get("mode", "canary"),
        "active": more.get("active", 130),
        "last_version": more.get("last_version", 131),
        "stage": more.get("stage", {"kind": "global", "percent": 100}),
        "drift": {"p95": recent[-1] if recent else None, "limit": 0.2, "recent": recent[-12:]},
        "windows": {"trained": more.get("trained", 1_234_567), "dead_letter": 0},
        "windows_per_s": more.get("rate", 655.2),
        "lag": more.get("lag", 12),
    }
    details = {"active": {"global": 130}, "windows": row["windows"]}
    return row, details


def board() -> Board:
    search = trainer("search", "quarantined", WAVE)
    main = trainer("main", "training", [0.1, 0.12], active=42, stage={"kind": "canary", "percent": 10}, rate=81_234)
    fraud = trainer("fraud-detection-europe", "paused", [0.05], mode="shadow", active=7, stage={"kind": "shadow"})
    fraud[0]["stage"] = {"kind": "shadow", "percent": 0}
    fresh = trainer("fresh", "idle", [], active=None, stage={"kind": None, "percent": 0}, trained=0, last_version=0)
    shown = (search, main, fraud, fresh)
    problems = [
        {"trainer": "search", "problem": "drift P95 0.280 at limit 0.2", "next": "upm drift-report search"},
        {"trainer": "fraud-detection-europe", "problem": "paused: asked", "next": "upm resume fraud-detection-europe"},
    ]
    bars = tuple(
        Bar(NOW_MS + (n - len(WAVE)) * HOUR_MS, NOW_MS + (n - len(WAVE) + 1) * HOUR_MS, value)
        for n, value in enumerate(WAVE)
    )
    said = "3 windows fail, the newest with P95 0.280 ≥ 0.2 at 2025-12-31 23:00Z; recommended: rollback"
    return Board(
        overview={
            "trainers": [row for row, _ in shown],
            "workers": [{"alive": True}, {"alive": True}, {"alive": False}],
            "problems": problems,
        },
        details={row["name"]: details for row, details in shown},
        trainer="search",
        drift=Drift(bars=bars, limit=0.2, headline=said, failing=True),
        events=tuple(
            Told(at=iso(NOW_MS - at * 60_000), kind=kind, subject=subject, text=text, is_grave="back" in text)
            for at, kind, subject, text in (
                (900, "trainer.add", "search", "ada"),
                (700, "snapshot.created", "search@130", "1,100,000 windows · loss 0.290"),
                (640, "snapshot.activate", "search@130", "live in global 100 % · ada · “a week of canary”"),
                (90, "snapshot.created", "search@131", "1,200,000 windows · loss 0.284"),
                (60, "snapshot.activate", "search@131", "live in global 100 %, before: v130 · cron"),
                (10, "drift.quarantine", "search", "P95 0.310 ≥ 0.2; bars v131; recommends rollback · drift-monitor"),
                (
                    2,
                    "snapshot.rollback",
                    "search@131",
                    "back to v130 in global · ada · “users report wrong priorities”",
                ),
            )
        ),
        snapshots=tuple(snapshots()),
        at_ms=NOW_MS,
    )


def digest(version: int) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()


def snapshots() -> list[Snapshot]:
    def snapshot(version: int, **more: Any) -> Snapshot:
        return Snapshot(
            trainer="search",
            version=version,
            mode=Mode.ACTIVE,
            digest=digest(version),
            file_digest="",
            codec="zstd",
            path=f"blobs/sha256/{digest(version)[:2]}/{digest(version)}.zst",
            size_bytes=1_630_000,
            raw_bytes=4_200_000,
            parent=version - 1,
            first_seq=(version - 1) * 9_000,
            last_seq=version * 9_000 - 1,
            windows=version * 9_000,
            created_at_ms=NOW_MS + (version - 132) * HOUR_MS,
            metrics={"loss": {"progressive": 0.284}},
            **more,
        )

    return [
        snapshot(131, quarantined=True, quarantine_reason="rolled back: users report wrong priorities"),
        snapshot(130, status=SnapshotStatus.ACTIVATED, activated_at_ms=NOW_MS, note="a week of canary"),
        snapshot(129, status=SnapshotStatus.ARCHIVED, pinned=True, note="the one in the paper"),
        snapshot(128, status=SnapshotStatus.ROLLED_BACK),
        *(snapshot(version) for version in range(127, 90, -1)),
    ]


def compare(name: str, text: str) -> None:
    path = CAPTURES / f"{name}.txt"
    if os.environ.get("UPM_UPDATE_CAPTURES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{name} looks different; is that wanted? See the docstring of this module"


def no_sideways_scrolling(hand: Any) -> bool:
    return not any(widget.show_horizontal_scrollbar for widget in hand.app.screen.walk_children())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", ["overview", "snapshots"])
def test_screens_look_as_they_should(show: Any, screen: str, size: tuple[int, int]) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("2 workers", "v0130")
        await hand.settle()
        compare(f"{screen}-{size[0]}x{size[1]}", hand.text)
        assert no_sideways_scrolling(hand)

    show(board(), steps, size, screen=screen)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_column_is_cut_however_long_the_values_are(show: Any, size: tuple[int, int]) -> None:
    longest = {"mode": "shadow", "active": 9_999, "stage": {"kind": "canary", "percent": 99}, "rate": 99_999}
    rows = [trainer(f"{'x' * 60}-{n}", "quarantined", WAVE, lag=12_345_678, **longest) for n in range(60)]
    full = replace(
        board(),
        overview={**board().overview, "trainers": [row for row, _ in rows]},
        details={row["name"]: details for row, details in rows},
        trainer=rows[0][0]["name"],
    )

    async def steps(hand: Any) -> None:
        await hand.sees("Win/s", "Lag", "99,999", "12.3M")
        assert no_sideways_scrolling(hand)

    show(full, steps, size)


def test_a_resized_screen_looks_as_one_that_was_so_from_the_start(show: Any) -> None:
    async def steps(hand: Any) -> None:
        for width, height in (*SIZES, *reversed(SIZES)):
            await hand.pilot.resize_terminal(width, height)
            await hand.sees((CAPTURES / f"overview-{width}x{height}.txt").read_text())

    show(board(), steps, (100, 30))


def test_the_longest_question_fits_the_smallest_screen(show: Any) -> None:
    words = "every word of a long reason for a quarantine that somebody gave " * 4
    plan = Plan(
        title="Roll back search",
        verb="Roll back",
        facts=(
            ("from", "v131 · 1,179,000 windows · loss 0.284 · 1.6 MiB"),
            ("drift", "P95 0.280, limit 0.2, 1,200 samples"),
            ("to", "v130 · 1,170,000 windows · loss 0.284 · proven ✓"),
            ("because", "it was live in global (epoch 3)"),
            ("where", "global, which is pinned then"),
            ("after", "v131 is quarantined; learns on from v130"),
            ("skips", words),
        ),
        words=("rollback", "search", "--to", "130", "--ring", "global"),
        act=lambda reason: reason,
    )

    async def steps(hand: Any) -> None:
        hand.app.push_screen(Confirm(plan, hand.app._project))
        await hand.sees("Cancel", "y  Roll back", "The same as: upm rollback search --to 130")
        compare("question-80x24", hand.text)
        await hand.press("tab", "x")
        hand.app.screen.query_one(Input).value = "x" * 120
        await hand.sees("Cancel", "y  Roll back", "--yes")

    show(board(), steps)


@pytest.mark.parametrize("screen", ["overview", "snapshots"])
def test_help_fits_the_smallest_screen(show: Any, screen: str) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("?")
        await hand.sees("Esc closes", "upm rollback search")
        compare(f"help-{screen}-80x24", hand.text)
        await hand.press("escape")
        await hand.sees("search")

    show(board(), steps, screen=screen)


def test_colour_is_never_needed_to_tell_states_apart(show: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("◆ quarantined", "● training", "‖ paused", "○ idle")

    show(board(), steps)


def test_the_cursor_chooses_whose_drift_is_shown(show: Any) -> None:
    asked = []

    async def steps(hand: Any) -> None:
        read = hand.app._reader.read
        hand.app._reader.read = lambda wanted, parts: asked.append(wanted) or read(wanted, parts)
        await hand.press("j", "j", "k")
        await hand.settle()
        assert asked[-1] == "main"

    show(board(), steps)

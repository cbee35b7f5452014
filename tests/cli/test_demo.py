import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.commands._demo_acts import sparkline, timeline
from upm_cli.core.records import Ring
from upm_cli.ops import demo_facts
from upm_cli.ops.demo import TRAINER
from upm_cli.store import pins
from upm_cli.store.session import Store

ROOT = Path(__file__).resolve().parents[2]


def same_words(text: str) -> str:
    """Return `text` without what may differ: where lines are broken, and how long the rehearsal took."""
    return re.sub(r"\d+ ms", "… ms", " ".join(text.split()))


@pytest.mark.slow
def test_every_fact_of_the_demo_is_true(told: tuple[Path, dict[str, Any]]) -> None:
    _, said = told
    assert [fact for fact in said["facts"] if not fact["passed"]] == []
    assert (said["passed"], said["failed"]) == (len(said["facts"]), 0)
    codes = [command["exit_code"] for act in said["acts"] for command in act["commands"]]
    assert sorted(code for code in codes if code) == [5, 5, 5, 6]


@pytest.mark.slow
def test_a_second_demo_tells_the_same_and_leaves_nothing_behind(
    told: tuple[Path, dict[str, Any]], tmp_path: Path, programs: Path
) -> None:
    command = [str(programs / "upm"), "demo", "--check"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    story = [line for act in told[1]["acts"] for line in [act["title"], *act["said"]]]
    shown = same_words(done.stdout)
    assert [line for line in story if same_words(line) not in shown] == []
    assert done.stdout.count("\n   ✓ ") == len(told[1]["facts"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_facts_notice_a_flipped_bit_and_a_missing_pin(told: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(told[0], folder, symlinks=True)
    store = Store(folder / ".upm", SystemClock())
    snapshot = next(iter(demo_facts.read_state(store).snapshots.values()))
    blob = folder / ".upm" / snapshot.path
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with store.write() as tx:
        pins.remove(tx, TRAINER, Ring.CANARY)
    failed = {fact.fact for fact in demo_facts.check(store) if not fact.passed}
    assert failed == {"every snapshot's bytes are what they were", "the good version is live and pinned"}


@pytest.mark.slow
def test_the_facts_notice_an_entry_that_was_written_anew(told: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(told[0], folder, symlinks=True)
    ledger = folder / ".upm" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("it was fine yesterday", "they told me to      ", 1))
    store = Store(folder / ".upm", SystemClock())
    failed = {fact.fact for fact in demo_facts.check(store) if not fact.passed}
    assert failed == {"all of it is on the record, and recomputes"}


def test_a_timeline_has_each_share_below_its_day() -> None:
    moments = [
        {"day": 0.0, "event": "begun", "percent": 0},
        {"day": 14.0, "event": "entered", "percent": 1},
        {"day": 22.0, "event": "promoted", "percent": 100},
    ]
    assert timeline(moments) == ("day      0       14   22", "tenants  shadow  1 %  promoted")


def test_the_demo_keeps_its_hands_off_a_folder_with_other_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", str(tmp_path)]) == 2
    assert "no project of an earlier demo" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_sparkline_has_a_bar_for_each_value_between_nothing_and_the_greatest() -> None:
    assert sparkline([0, 0.5, 1, -1]) == "▁▅█▁"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""

"""docs/reference/ledger.md against the actions that the program records."""

import re
from pathlib import Path

from upm_cli.core.decision import RECOMPUTE, can_recompute
from upm_cli.core.rollout import VERBS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/ledger.md").read_text()


def actions(text: str) -> set[str]:
    rows = re.findall(r"^\| ((?:`[a-z]+\.[a-z]+`(?:, )?)+) \|", text, re.MULTILINE)
    return {action for row in rows for action in re.findall(r"`([^`]+)`", row)}


def recorded() -> set[str]:
    """Return every action that a source file writes as a whole word."""
    found = set()
    for file in (ROOT / "upm_cli").rglob("*.py"):
        text = file.read_text()
        found |= set(re.findall(r"\.ledger\(\s*\"([a-z]+\.[a-z]+)\"", text))
        found |= set(re.findall(r"kind=\"([a-z]+\.[a-z]+)\"", text))
    return found


def test_every_action_that_is_recorded_is_on_the_page() -> None:
    found = recorded()
    assert len(found) > 15
    assert found - actions(PAGE) == set()
    assert {f"rollout.{verb}" for verb in VERBS} <= actions(PAGE)


def test_the_page_says_of_each_action_whether_it_can_be_worked_out_again() -> None:
    decisions, _, others = PAGE.partition("## Everything else")
    told = actions(decisions)
    assert {kind for kind in RECOMPUTE if not kind.endswith(".")} <= told
    assert [action for action in told if not can_recompute(action)] == []
    assert [action for action in actions(others) if action in RECOMPUTE] == []

"""docs/reference/json.md against what the commands print about the project of a demo."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "`upm train`": ["train", "--once"],
    "`upm trainer show`": ["trainer", "show"],
    "`upm trainer list`": ["trainer", "list"],
    "`upm status`": ["status"],
    "`upm snapshot list`, `show`, `create`": ["snapshot", "list"],
    "`upm snapshot diff`": ["snapshot", "diff", "1", "2"],
    "`upm snapshot verify`": ["snapshot", "verify", "--all"],
    "`upm keys init`": ["keys", "init"],
    "`upm keys list`": ["keys", "list"],
    "`upm keys export`": ["keys", "export"],
    "`upm snapshot sign`": ["snapshot", "sign", "--all"],
    "`upm snapshot export`": ["snapshot", "export"],
    "`upm activate`": ["activate", "triage", "1", "--to-stage", "shadow", "--dry-run"],
    "`upm drill rollback`": ["drill", "rollback"],
    "`upm drill rollout`": ["drill", "rollout"],
    "`upm rollout start`": ["rollout", "start"],
    "`upm rollout status`": ["rollout", "status"],
    "`upm rollout plan`": ["rollout", "plan"],
    "`upm rollout tick`": ["rollout", "tick"],
    "`upm rollout history`": ["rollout", "history"],
    "`upm rollout freeze`, `unfreeze`": ["rollout", "freeze", "--until", "1h", "--reason", "look"],
    "`upm rollout readiness`": ["rollout", "readiness"],
    "`upm rollout sign-off`": ["rollout", "sign-off", "runbook"],
    "`upm tenant route`": ["tenant", "route", "t1"],
    "`upm tenant list`": ["tenant", "list"],
    "`upm tenant allow`, `deny`, `clear`": ["tenant", "deny", "t1", "--yes"],
    "`upm anchor show`": ["anchor", "show"],
    "`upm anchor set`, `clear`": ["anchor", "clear"],
    "`upm gate check`": ["gate", "check", "triage", "1", "--to-stage", "shadow"],
    "`upm gate explain`": ["gate", "explain"],
    "`upm gate overrides`": ["gate", "overrides"],
    "`upm quarantine list`": ["quarantine", "list"],
    "`upm rollback`": ["rollback", "triage", "--yes"],
    "`upm predict`": ["predict", "mail/one.json"],
    "`upm drift-report`": ["drift-report"],
    "`upm drift-report --by feature`": ["drift-report", "--by", "feature"],
    "`upm agent token`": ["agent", "token", "upm-token"],
    "`upm validate`": ["validate"],
    "`upm audit list`": ["audit", "list"],
    "`upm audit show`": ["audit", "show", "1"],
    "`upm explain DECISION`": ["explain", "1"],
    "`upm audit verify`": ["audit", "verify", "--recompute"],
    "`upm audit head`": ["audit", "head"],
    "`upm at`": ["at", "now"],
    "`upm config show`": ["config", "show"],
    "`upm doctor`": ["doctor"],
    "`upm metrics show`": ["metrics", "show"],
    "`upm metrics write`": ["metrics", "write", "upm.prom"],
    "`upm metrics alerts`": ["metrics", "alerts"],
    "`upm sql`": ["sql", "SELECT count(*) AS n FROM log"],
    "`upm adapter add`": ["adapter", "add", "edge", "--path", "models"],
    "`upm sync run`": ["sync", "run"],
    "`upm sync status`": ["sync", "status"],
    "`upm sync verify`": ["sync", "verify"],
    "`upm sync retry`": ["sync", "retry"],
    "`upm sync collect`": ["sync", "collect"],
    "`upm adapter list`": ["adapter", "list"],
    "`upm adapter show`": ["adapter", "show", "edge"],
    "`upm adapter remove`": ["adapter", "remove", "edge", "--yes"],
}
#: Fields that come with an option.
ONLY_WHEN_ASKED = {"`upm doctor`": {"fixed[].what", "fixed[].path", "bundle", "bundle_members"}}
NEEDS_AN_AGENT = ("`upm agent serve`", "`upm agent status`")  # tests/agent looks at these
#: What needs a supervisor is checked beside it: test_supervisor_commands.py and tests/process/test_up.py.
SUPERVISED = ("`upm ps`", "`upm down`", "`upm restart`", "`upm logs`", "`upm up --detach`")
WINDOWS = {"read", "trained", "unlabelled", "pending", "duplicate", "late", "dead_letter"}


def documented() -> dict[str, set[str]]:
    """Return the fields of each section of the page."""
    sections = re.split(r"^## ", (ROOT / "docs/reference/json.md").read_text(), flags=re.MULTILINE)[1:]
    return {text.splitlines()[0]: set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)) for text in sections}


def fields(data: dict[str, Any], known: set[str], prefix: str = "") -> set[str]:
    """Return the fields of `data` as the page writes them: taken apart where the page takes them apart."""
    found = set()
    for key, value in data.items():
        inside = value[0] if isinstance(value, list) and value else value
        name = f"{prefix}{key}" + ("[]" if isinstance(value, list) else "")
        if isinstance(inside, dict) and any(each.startswith(f"{name}.") for each in known):
            found |= fields(inside, known, f"{name}.")
        else:
            found.add(f"{prefix}{key}")
    return found


@pytest.mark.slow
def test_every_command_prints_the_fields_that_are_documented(
    told: tuple[Path, dict[str, Any]], tmp_path: Path, new_shell: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = documented()
    assert page.pop("Where windows are") == WINDOWS
    demo = {name: value for name, value in told[1].items() if name != "schema_version"}
    assert fields(demo, page["`upm demo`"]) == page.pop("`upm demo`")
    windows_report = page["`upm drift-report`"]
    shutil.copytree(told[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    upm = new_shell(tmp_path / "project")
    for section, words in COMMANDS.items():
        said = upm.json(*words)
        assert said.pop("schema_version") == 1
        known = page.pop(section) | (windows_report if "--by" in words else set())
        known -= ONLY_WHEN_ASKED.get(section, set())
        assert fields(said, known) == known, section
        rows = [said, *said.get("trainers", [])]
        assert all(set(row["windows"]) == WINDOWS for row in rows if isinstance(row.get("windows"), dict))
    assert set(page) == {*NEEDS_AN_AGENT, *SUPERVISED}

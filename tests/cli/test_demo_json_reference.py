"""docs/reference/json.md against what the commands print about the project of a demo."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from upm_cli.app import build
from upm_cli.commands._reference import walk

ROOT = Path(__file__).resolve().parents[2]
WEBHOOK = "notify: {webhooks: [{name: ops, url: 'http://127.0.0.1:9/x'}]}\n"
COMMANDS = {
    "`upm version`": ["version"],
    "`upm init`": ["init"],
    "`upm completion show`": ["completion", "show", "bash"],
    "`upm config get`": ["config", "get", "drift_monitor.sample_size"],
    "`upm config path`": ["config", "path"],
    "`upm explain CODE`": ["explain", "UPM-E070"],
    "`upm explain GATE`": ["explain", "evidence"],
    "`upm help`": ["help"],
    "`upm help TOPIC`": ["help", "runbook", "quarantine"],
    "`upm help COMMAND`": ["help", "snapshot", "list"],
    "`upm schedule show`": ["schedule", "show", "cron"],
    "`upm notify secret`": ["notify", "secret", "ops.secret"],
    "`upm notify list`": ["notify", "list"],
    "`upm notify run`": ["notify", "run"],
    "`upm trainer add`": ["trainer", "add", "second"],
    "`upm trainer remove`": ["trainer", "remove", "second", "--yes"],
    "`upm ingest`": ["ingest", "new.jsonl", "--trainer", "triage"],
    "`upm pause`, `resume`": ["resume"],
    "`upm events`": ["events"],
    "`upm events dead-letters`": ["events", "dead-letters"],
    "`upm snapshot pin`, `unpin`": ["snapshot", "unpin", "triage", "1"],
    "`upm snapshot gc`": ["snapshot", "gc", "--dry-run"],
    "`upm quarantine release`": ["quarantine", "release", "triage@1", "--reason", "look"],
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
    "`upm backup create`": ["backup", "create"],
    "`upm backup list`": ["backup", "list"],
    "`upm backup verify`": ["backup", "verify"],
    "`upm backup restore`": ["backup", "restore", "kept/*.upmbackup", "../restored"],
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
#: tests/agent, test_metrics_prometheus.py and test_notify_command.py look at these: they need somebody to talk to.
ELSEWHERE = ("`upm agent serve`", "`upm agent status`", "`upm metrics serve`", "`upm notify test`")
SCREENS = {"upm tui", "upm top"}  # print nothing
#: What needs a supervisor is checked beside it: test_supervisor_commands.py and tests/process/test_up.py.
SUPERVISED = ("`upm ps`", "`upm down`", "`upm restart`", "`upm logs`", "`upm up --detach`")
MACHINE = ("`upm schedule install`", "`upm schedule remove`")  # look at this machine: test_schedule_install.py
DAMAGED = ("`upm doctor --restore`",)  # what needs a state that does not open: test_doctor.py
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
    (tmp_path / "kept").mkdir()
    windows_report = page["`upm drift-report`"]
    shutil.copytree(told[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    with Path("upm.yaml").open("a") as config:
        config.write(f"{WEBHOOK}backup: {{folder: ../kept}}\n")
    upm = new_shell(tmp_path / "project")
    upm.write("new.jsonl", upm.event(1))
    wrong: dict[str, Any] = {}  # section → what it lacks, what is not printed
    for section, words in COMMANDS.items():
        said = upm.json(*(str(*tmp_path.glob(word)) if word.endswith("*.upmbackup") else word for word in words))
        assert said.pop("schema_version") == 1
        known = page.pop(section) | (windows_report if "--by" in words else set())
        known -= ONLY_WHEN_ASKED.get(section, set())
        if (prints := fields(said, known)) != known:
            wrong[section] = (prints - known, known - prints)
        rows = [said, *said.get("trainers", [])]
        assert all(set(row["windows"]) == WINDOWS for row in rows if isinstance(row.get("windows"), dict))
    assert wrong == {}
    assert set(page) == {*ELSEWHERE, *SUPERVISED, *MACHINE, *DAMAGED}


def described() -> set[str]:
    """Return the commands that headings of the page, and the lines below them, speak of."""
    found: set[str] = set()
    for section in re.split(r"^## ", (ROOT / "docs/reference/json.md").read_text(), flags=re.MULTILINE)[1:]:
        head = section.partition("\n\n")[0]
        first, *others = re.findall(r"`([^`]+)`", head) or [""]
        group = re.sub(r"( [a-z-]+)?( [A-Z]+)?$", "", first)
        found |= {first, *others, *(f"{group} {word}" for word in others)}
    return {re.sub(r" ([A-Z]+|--.*)$", "", name) for name in found}


def test_every_command_is_described() -> None:
    root = build()
    walked = walk(root, typer.Context(root, info_name="upm"))
    commands = {path for path, command, _ in walked if not hasattr(command, "list_commands")}
    assert commands - described() == SCREENS

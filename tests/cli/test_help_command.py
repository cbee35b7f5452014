"""`upm help`: every text from one source, readable at any width, and there at once without a project."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import build, main
from upm_cli.commands._markdown import Page, render
from upm_cli.config.load import SPECS
from upm_cli.exit_codes import ExitCode
from upm_cli.ops import help as topics

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["quickstart", "environment", "exit-codes", "formatting", "config", "cron", "runbook", "glossary"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def said(capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert main(["help", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_without_words_it_lists_topics_and_every_command(capsys: Capture) -> None:
    out = said(capsys)
    assert re.findall(r"^  upm help (\S+) ", out, re.MULTILINE) == NAMES
    listed = set(re.findall(r"[a-z-]+", out.partition("Commands")[2]))
    assert set(build().entries) <= listed
    assert sorted(entry.name for entry in Path().iterdir()) == []


@pytest.mark.parametrize("words", [[name] for name in NAMES] + [["runbook", name] for name in topics.runbooks()])
@pytest.mark.parametrize("columns", [72, 100])
def test_a_text_fits_its_width_and_has_no_markup_left(
    words: list[str], columns: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = said(capsys, *words)
    source = topics.runbook(words[1]) if words[1:] else topics.topic(words[0])
    code = {line.strip() for block in re.findall(r"```.*?```", source.text, re.DOTALL) for line in block.splitlines()}
    prose = [line for line in out.splitlines() if line.strip() not in code and not line.startswith("  upm help")]
    assert [line for line in prose if len(line) > columns] == []
    assert [line for line in prose if re.search(r"\*\*|\]\(|^#|```|<!--", line)] == []
    assert "\x1b" not in out


def test_a_runbook_says_where_its_signs_are_explained(capsys: Capture) -> None:
    assert said(capsys, "runbook", "quarantine").endswith("\nHow to read this page: upm help runbook\n")
    assert "# exit 5" in said(capsys, "runbook")


def test_every_word_of_a_text_is_told(capsys: Capture) -> None:
    """Nothing is swallowed on the way from Markdown to the screen."""
    for name in ("glossary", "quickstart"):
        text = re.sub(r"^```\w+$", "", topics.topic(name).text, flags=re.MULTILINE)
        plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
        missing = set(re.findall(r"\w{4,}", plain)) - set(re.findall(r"\w+", said(capsys, name)))
        assert missing - {"reference"} == set()  # of a link that is told as what to type


def test_colour_is_as_everywhere(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    colored = said(capsys, "runbook", "full-disk")
    assert "\x1b[1mRunbook: the disk is full\x1b[0m" in colored
    assert colored.count("\x1b[0m") * 2 == colored.count("\x1b")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in said(capsys, "runbook", "full-disk")
    assert "\x1b" not in said(capsys, "runbook", "full-disk", "--color", "never")


def test_the_help_of_a_command_is_that_of_its_own_option(capsys: Capture) -> None:
    for words in (["train"], ["snapshot"], ["snapshot", "list"], ["config", "show"], ["help"]):
        from_help = said(capsys, *words)
        assert main([*words, "--help"]) == 0
        assert capsys.readouterr().out == from_help


def test_a_format_can_be_asked_for(capsys: Capture) -> None:
    import json

    one: dict[str, Any] = json.loads(said(capsys, "exit-codes", "--json"))
    assert (one["topic"], one["title"]) == ("exit-codes", "Exit codes")
    assert one["text"].startswith("# Exit codes\n")
    rows = [json.loads(line) for line in said(capsys, "-o", "jsonl").splitlines()]
    assert [row["topic"] for row in rows] == [*NAMES, *(f"runbook {name}" for name in topics.runbooks())]
    assert said(capsys, "-o", "tsv").startswith("topic\tabout\nquickstart\t")
    assert json.loads(said(capsys, "train", "--json"))["command"] == "upm train"


def test_no_topic_hides_a_command_and_no_section_a_command_of_config() -> None:
    root = build()
    assert set(root.entries) & set(topics.topics()) == {"config"}
    assert set(root.get_command(None, "config").commands) & {path.partition(".")[0] for path in SPECS} == set()


def test_exit_codes_and_settings_are_those_of_the_program(capsys: Capture) -> None:
    out = said(capsys, "exit-codes")
    assert [int(found) for found in re.findall(r"^(\d+) ", out, re.MULTILINE)] == [int(code) for code in ExitCode]
    for path in SPECS:
        section, _, key = path.partition(".")
        assert f"`{key}`" in topics.config_section(section).text


def test_every_variable_that_the_program_reads_is_told() -> None:
    """Found in the source: `environ["X"]`, `environ.get("X")` and the like."""
    reads = re.compile(r"environ(?:\.get|\.pop)?[(\[]\s*[\"']([A-Z_]+)|[\"']([A-Z][A-Z_]+)[\"'] in [\w.]*environ")
    read: set[str] = set()
    for path in (ROOT / "upm_cli").rglob("*.py"):
        read |= {one or other for one, other in reads.findall(path.read_text())}
    assert {"UPM_PROJECT", "NO_COLOR", "NOTIFY_SOCKET"} <= read
    text = topics.topic("environment").text
    assert {name for name in read if f"`{name}`" not in text} == set()


def test_too_many_words_are_refused(capsys: Capture) -> None:
    for words in (["glossary", "more"], ["runbook", "full-disk", "more"], ["config", "policy", "more"]):
        assert main(["help", *words]) == 2
        assert "'more' is one word too many" in capsys.readouterr().err


def test_a_link_is_told_as_what_to_type_or_as_a_page() -> None:
    runbook = topics.runbook("stuck-rollout")
    assert topics.link(runbook, "quarantine.md", "quarantine.md") == "`upm help runbook quarantine`"
    assert topics.link(runbook, "x", "../reference/cli.md#exit-codes") == "x (`upm help exit-codes`)"
    assert topics.link(runbook, "what", "../howto/rollout.md#a") == "what (docs/howto/rollout.md)"
    assert topics.link(runbook, "rollout.md", "../howto/rollout.md") == "docs/howto/rollout.md"
    assert topics.link(runbook, "spec", "https://x.example/y") == "spec (https://x.example/y)"


def test_markdown_of_all_kinds() -> None:
    text = (
        "# Top\n<!-- gone -->\nOne *two* **three `four`**\ngoes on.\n- item that is long enough to be wrapped\n"
        "  and goes on\n\n1. first\n\n   ```sh\n   run  it   # why\n   ```\n"
        "   | a | b |\n   |---|---|\n   | `x\\|y` | z |\n"
    )
    page = Page(30, False, lambda label, target: label)
    assert render(text, page) == (
        "Top\n===\n\nOne two three `four` goes on.\n• item that is long enough to\n  be wrapped and goes on\n\n"
        "1. first\n\n     run  it   # why\n\n   a      b\n   -----  -\n   `x|y`  z"
    )


@pytest.mark.parametrize("words", [[], ["quickstart"], ["config"], ["config", "policy"], ["runbook", "quarantine"]])
def test_it_loads_nothing_heavy_and_takes_a_quarter_of_a_second_at_most(words: list[str]) -> None:
    heavy = ("duckdb", "numpy", "pyarrow", "textual", "pydantic", "rich", "upm_cli.store", "upm_cli.workers")
    program = (
        f"import sys\nfrom upm_cli.app import main\nassert main({['help', *words]}) == 0\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    spent = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert done.stdout.splitlines()[-1] == "[]"
        if spent[-1] <= 0.25:
            break
    assert min(spent) <= 0.25  # seconds of processor time, which is the program's own

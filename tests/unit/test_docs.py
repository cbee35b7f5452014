import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))


def commands_of(page: Path) -> list[str]:
    """Return the lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_sets_up_and_tests_with_the_command_that_ci_runs() -> None:
    wanted = [line for line in commands_of(ROOT / "README.md") if "pytest" in line]
    assert len(wanted) == 1
    assert wanted[0] in (ROOT / ".ci/run").read_text().splitlines()
    assert wanted[0] in commands_of(ROOT / "CONTRIBUTING.md")


def test_decisions_are_numbered_without_holes_and_have_their_three_parts() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{n:04d}" for n in range(1, len(DECISIONS) + 1)]
    for page in DECISIONS:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        assert re.search(r"\*\*Context\.?\*\*.*\*\*Decision\.?\*\*.*\*\*Consequences\.?\*\*", text, re.DOTALL), (
            page.name
        )


def test_the_architecture_links_every_decision() -> None:
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    assert [page.name for page in DECISIONS if f"(adr/{page.name})" not in text] == []


def test_the_glossary_has_each_idea_once() -> None:
    found = re.findall(r"^- \*\*([^*]+)\*\*", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted(set(found))


def test_the_example_file_is_what_its_generator_makes() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "examples/generate_triage.py", "800"]
    made = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
    assert made.stdout == (ROOT / "examples/triage.jsonl").read_bytes()


def test_the_example_project_has_no_problems() -> None:
    from upm_cli.config.load import load

    settings = load(ROOT / "examples/upm.yaml", overrides=(), environ={}).settings
    assert [trainer.name for trainer in settings.supervisor.default_trainers] == ["triage"]

"""What the pages name exists: commands with their options, and modules."""

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from upm_cli.app import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("upm_cli/assets/**/*.md"),
    )
    if page.name != "CHANGELOG.md"  # it tells of what was
)
_BLOCK = re.compile(r"^( *)```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_ENDS = ("|", "||", "&&", ";", ">", ">>", "&", "2>&1")
_MODULE = re.compile(
    r"(?<![\w/])((?:core|ops|store|workers|commands|adapters|agent|config|sources|telemetry|tui|safehttp)/[\w/{},]+\.py)"
)


def commands_of(text: str) -> list[str]:
    """Return what is typed of upm in the page: lines of its blocks, and what stands in backquotes in its text."""
    found = []
    for _, block in _BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        is_console = any(line.lstrip().startswith("$ ") for line in lines)
        typed = [line.strip() for line in lines if not is_console or line.lstrip().startswith("$ ")]
        found += [
            part[0] for line in typed for part in re.findall(r"((?<![\w/.-])upm( .*|$))", line.removeprefix("$ "))
        ]
    return found + re.findall(r"`(upm [^`]+)`", _FENCED.sub("", text))


def wrong_with(typed: str, root: Any) -> str | None:
    """Return what of a command line does not exist; None: all of it does."""
    try:
        words = shlex.split(typed.replace("…", " "), comments=True)
    except ValueError:  # a quotation that goes on in the next line
        words = typed.split()
    words = words[1 : min((words.index(end) for end in _ENDS if end in words), default=len(words))]
    return next(
        (why for each in itertools.product(*(word.split("|") for word in words)) if (why := _first(each, root))), None
    )


def _first(words: tuple[str, ...], root: Any) -> str | None:
    command, options, left = root, _options(root), list(words)
    while left:
        word = left.pop(0)
        if word.startswith("-") and not re.fullmatch(r"-\d*", word):
            name, _, value = word.partition("=")
            if name not in options:
                return f"{command.name or 'upm'} has no option {name}"
            if not options[name] and not value and left:
                left.pop(0)
        elif hasattr(command, "list_commands"):
            inner = command.get_command(typer.Context(command), word)
            if inner is None:
                return None if re.fullmatch(r"[A-Z\[{…].*", word) else f"{command.name or 'upm'} has no command {word}"
            command, options = inner, options | _options(inner)
    return None


def _options(command: Any) -> dict[str, bool]:
    """Return the options of a command, and whether each stands alone."""
    found = {"--help": True, "-h": True}
    for param in command.params:
        for name in (*param.opts, *param.secondary_opts):
            found[name] = bool(getattr(param, "is_flag", False) or getattr(param, "count", False))
    return found


@pytest.fixture(scope="module")
def root() -> Any:
    return build()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_that_a_page_names_exist(page: Path, root: Any) -> None:
    wrong = {typed: why for typed in commands_of(page.read_text()) if (why := wrong_with(typed, root))}
    assert wrong == {}


def test_a_command_or_an_option_that_is_not_there_is_noticed(root: Any) -> None:
    text = "Type `upm rollout bgin` or\n```console\n$ upm -C x rollback main --back 3 | tail\n```\n"
    assert [wrong_with(typed, root) for typed in commands_of(text)] == [
        "rollback has no option --back",
        "rollout has no command bgin",
    ]
    assert wrong_with("upm snapshot 'my trainer' --json", root) is not None
    assert wrong_with("upm -C /srv/shop -q gate check main 42 --to-stage canary|global --percent=5", root) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for named in _MODULE.findall(page.read_text()):
        before, _, rest = named.partition("{")
        inside, _, after = rest.partition("}")
        missing += [
            path for each in inside.split(",") if not (ROOT / "upm_cli" / (path := before + each + after)).exists()
        ]
    assert missing == []

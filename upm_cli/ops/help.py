"""What `upm help` tells: topics and runbooks, each written once.

The texts are in assets/help, in Markdown; exit codes, variables and settings are made from the tables that the program
itself goes by. The pages in docs are copies that `.ci/write_reference.py` writes, so links in a text are those of its
page; a test compares them.
"""

import functools
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from upm_cli.errors import NotFoundError
from upm_cli.exit_codes import MEANING
from upm_cli.nearest import hint_for

_HEADING: Final = re.compile(r"^# (.+)$", re.MULTILINE)
RUNBOOK: Final = "runbook"
CONFIG: Final = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One text. `name` is what is typed after `upm help`; `page` is where it is in docs, for its links."""

    name: str
    about: str
    page: str
    make: Callable[[], str]

    @property
    def text(self) -> str:
        """The text, in Markdown."""
        return self.make()

    @property
    def title(self) -> str:
        """The heading of the text."""
        found = _HEADING.search(self.text)
        return found[1] if found is not None else self.name


def asset(name: str) -> str:
    """Return a text of assets/help as it is there."""
    return (resources.files("upm_cli") / "assets" / "help" / name).read_text("utf-8")


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {means} | {then} |" for code, (means, then) in MEANING.items()]
    return "\n".join([asset("exit-codes.md"), "| code | meaning | what to do |", "|---|---|---|", *rows]) + "\n"


def _environment() -> str:
    from upm_cli.config import variables

    return f"{asset('environment.md')}\n{variables.table()}"


def _config() -> str:
    from upm_cli.config.reference import sections_table

    return f"{asset('config.md')}\n{sections_table()}"


def _from(name: str) -> Callable[[], str]:
    return lambda: asset(name)


_TOPICS: Final = (
    ("quickstart", "from a file of events to a model that reaches your tenants", "quickstart.md", None),
    ("environment", "the environment variables that upm reads", "reference/cli.md#environment", _environment),
    ("exit-codes", "what a command ends with, and what to do then", "reference/cli.md#exit-codes", _exit_codes),
    ("formatting", "tables, JSON, TSV and colour; how errors are told", "reference/cli.md", None),
    (CONFIG, "upm.yaml: what counts, and every setting", "reference/config.md", _config),
    ("cron", "running by itself, from cron or as a systemd service", "howto/schedule.md", None),
    (RUNBOOK, "what to type when something is wrong at night", "runbooks/README.md", _from("runbooks/README.md")),
    ("glossary", "one word for each idea", "glossary.md", None),
)
_ELSEWHERE: Final = {"adapter-errored": "howto/adapter-errored.md"}  # a runbook whose page is not among the others


@functools.cache
def topics() -> Mapping[str, Topic]:
    """Return the topics by name, in the order in which they are listed."""
    return {
        name: Topic(name=name, about=about, page=f"docs/{page}", make=make or _from(f"{name}.md"))
        for name, about, page, make in _TOPICS
    }


@functools.cache
def runbooks() -> Mapping[str, Topic]:
    """Return the runbooks by name."""
    folder = resources.files("upm_cli") / "assets" / "help" / "runbooks"
    names = sorted(file.name.removesuffix(".md") for file in folder.iterdir() if file.name != "README.md")
    return {name: _runbook(name) for name in names}


def _runbook(name: str) -> Topic:
    make = _from(f"runbooks/{name}.md")
    page = _ELSEWHERE.get(name, f"runbooks/{name}.md")
    found = _HEADING.search(make())
    about = found[1].removeprefix("Runbook: ") if found is not None else ""
    return Topic(name=f"{RUNBOOK} {name}", about=about, page=f"docs/{page}", make=make)


def config_section(name: str) -> Topic:
    """Return every setting of a section of upm.yaml. Raises NotFoundError with the nearest one."""
    from upm_cli.config.reference import section_table
    from upm_cli.config.schema import SECTIONS

    if name not in SECTIONS:
        raise _unknown(f"section or command {name!r} of config", name, [*SECTIONS], "upm help config lists them")
    return Topic(name=f"config {name}", about="", page="docs/reference/config.md", make=lambda: section_table(name))


def topic(name: str) -> Topic:
    """Return a topic. Raises NotFoundError with the nearest one."""
    if name not in topics():
        raise unknown(name, ())
    return topics()[name]


def runbook(name: str) -> Topic:
    """Return a runbook; the ending of its file may be there. Raises NotFoundError with the nearest one."""
    wanted = name.removesuffix(".md")
    if wanted not in runbooks():
        raise _unknown(f"runbook {name!r}", wanted, [*runbooks()], "upm help runbook lists them")
    return runbooks()[wanted]


def unknown(name: str, commands: tuple[str, ...]) -> NotFoundError:
    """Return what is said to a word that is neither a topic nor one of the `commands`."""
    return _unknown(f"help topic or command {name!r}", name, [*topics(), *commands], "upm help lists them")


def _unknown(what: str, word: str, known: list[str], otherwise: str) -> NotFoundError:
    return NotFoundError(f"no {what}", hint=hint_for(word, known, otherwise), code="UPM-E049")


def page_of(one: Topic) -> str:
    """Return what the page of a topic in docs is, word for word."""
    return f"<!-- Made by .ci/write_reference.py from upm_cli/assets/help; a test compares them. -->\n{one.text}"


def whole_pages() -> dict[str, Topic]:
    """Return the pages of docs that are one topic and nothing else."""
    parts = ("environment", "exit-codes", "formatting", CONFIG)
    return {one.page: one for one in [*topics().values(), *runbooks().values()] if one.name not in parts}


def link(one: Topic, label: str, target: str) -> str:
    """Return how a link in a text is told where nobody can click: as what to type, or as the page in docs."""
    if "://" in target:
        return f"{label} ({target})"
    if target.startswith("#"):
        return label
    page = posixpath.normpath(posixpath.join(posixpath.dirname(one.page), target))
    known = {each.page: each.name for each in [*topics().values(), *runbooks().values()]}
    plain = page.partition("#")[0]
    says = f"`upm help {known[page]}`" if page in known else plain
    return says if label == posixpath.basename(plain) or plain.endswith(label) else f"{label} ({says})"

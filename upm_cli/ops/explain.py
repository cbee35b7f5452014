"""What a code means: the pages behind `upm explain`.

They are in assets/explain/*.md, one section for each code: a heading `## UPM-E040 Title`, `Exit: 4` (the exit code of a
command that ends with it; alerts have none), then three paragraphs that begin with `What:`, `Why:` and `Do:`. UPM-E are
errors, UPM-C problems of the configuration, UPM-A alerts. Gates are explained by their guides (`core.gate_guide`).
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from upm_cli.core.gate_guide import GUIDES, Guide
from upm_cli.errors import NotFoundError
from upm_cli.nearest import did_you_mean

_HEADING = re.compile(r"^## (UPM-[A-Z]\d{3}) (.+)$", re.MULTILINE)
_PARTS = ("Exit", "What", "Why", "Do")
ALERT = "UPM-A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One code explained. `exit_code` is what a command that ends with it returns; None for alerts, which end none."""

    code: str
    title: str
    exit_code: int | None
    what: str
    why: str
    do: str


@functools.cache
def pages() -> Mapping[str, Page]:
    """Return every page by its code, in order."""
    found: dict[str, Page] = {}
    folder = resources.files("upm_cli") / "assets" / "explain"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        found |= parse_pages(file.read_text("utf-8"))
    return dict(sorted(found.items()))


def parse_pages(text: str) -> dict[str, Page]:
    """Return the pages in one file of them."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return {
        heading[1]: _page(heading[1], heading[2], _parts(text[heading.end() : end]))
        for heading, end in zip(headings, ends, strict=True)
    }


def _page(code: str, title: str, parts: Mapping[str, str]) -> Page:
    ends = int(parts["exit"]) if parts["exit"] else None
    return Page(code=code, title=title, exit_code=ends, what=parts["what"], why=parts["why"], do=parts["do"])


def _parts(body: str) -> dict[str, str]:
    paragraphs = [" ".join(paragraph.split()) for paragraph in body.split("\n\n")]
    return {
        part.lower(): next((p.removeprefix(f"{part}: ") for p in paragraphs if p.startswith(f"{part}: ")), "")
        for part in _PARTS
    }


def explain(code: str) -> Page:
    """Return the page of `code`; case, and the "UPM-", may be left out. Raises NotFoundError with the nearest code."""
    known = pages()
    wanted = code.strip().upper()
    wanted = wanted if wanted.startswith("UPM-") else f"UPM-{wanted}"
    if wanted in known:
        return known[wanted]
    near = [one for one in known if one.startswith(wanted)]
    hint = f"did you mean {near[0]}? " if near else _guess(code, wanted)
    raise NotFoundError(f"no code {code!r}", hint=f"{hint}upm explain lists all of them", code="UPM-E049")


def _guess(given: str, wanted: str) -> str:
    """Return the gate or the code that `given` is like, as a question."""
    guess = did_you_mean(given.strip().lower(), [guide.gate for guide in GUIDES]) or did_you_mean(wanted, pages())
    return f"{guess} " if guess else ""


def find_gate(name: str) -> Guide | None:
    """Return the guide of a gate, if there is one."""
    return next((guide for guide in GUIDES if guide.gate == name.strip().lower()), None)


def gate(name: str) -> Guide:
    """Return the guide of a gate. Raises NotFoundError with the nearest one."""
    found = find_gate(name)
    if found is None:
        names = [guide.gate for guide in GUIDES]
        hint = did_you_mean(name, names) or f"one of {', '.join(names)}"
        raise NotFoundError(f"no gate {name!r}", hint=hint, code="UPM-E045")
    return found

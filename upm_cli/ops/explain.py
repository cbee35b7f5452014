"""What a code means: the pages behind `upm explain`.

They are in assets/explain/*.md, one section for each code: a heading `## UPM-E040 Title`, then three paragraphs that
begin with `What:`, `Why:` and `Do:`. UPM-E are errors, UPM-C problems of the configuration, UPM-A alerts.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources

from upm_cli.errors import NotFoundError

_HEADING = re.compile(r"^## (UPM-[A-Z]\d{3}) (.+)$", re.MULTILINE)
_PARTS = ("What", "Why", "Do")
ALERT = "UPM-A"
_FAMILIES = (
    ("UPM-E00", "1"),
    ("UPM-E01", "1"),
    ("UPM-E02", "2"),
    ("UPM-E03", "3"),
    ("UPM-C", "3"),
    ("UPM-E04", "4"),
    ("UPM-E05", "5"),
    ("UPM-E06", "6"),
    ("UPM-E07", "7"),
    ("UPM-E08", "8"),
    ("UPM-E09", "9"),
    ("UPM-E10", "10"),
    ("UPM-E130", "2"),
    ("UPM-E131", "4"),
    ("UPM-E132", "5"),
    ("UPM-E133", "9"),
    ("UPM-E134", "9"),
    ("UPM-E135", "1"),
    ("UPM-E136", "9"),
    ("UPM-E137", "3"),
    ("UPM-E140", "8"),
    ("UPM-E141", "5"),
    ("UPM-E142", "2"),
    ("UPM-E143", "5"),
    ("UPM-E144", "3"),
    ("UPM-E145", "4"),
    ("UPM-E146", "3"),
    ("UPM-E147", "5"),
    ("UPM-E148", "2"),
    ("UPM-E149", "2"),
    ("UPM-E150", "5"),
    ("UPM-E120", "8"),
    ("UPM-E121", "2"),
    ("UPM-E122", "4"),
    ("UPM-E123", "9"),
    ("UPM-E124", "9"),
    ("UPM-E125", "3"),
    ("UPM-E160", "4"),
    ("UPM-E161", "3"),
    ("UPM-E163", "10"),
    ("UPM-E110", "2"),
    ("UPM-E113", "4"),
    ("UPM-E114", "5"),
    ("UPM-E115", "3"),
    ("UPM-E11", "9"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One code explained. `exit_code` is what a command that ends with it returns; None for alerts, which end none."""

    code: str
    title: str
    what: str
    why: str
    do: str

    @property
    def exit_code(self) -> int | None:
        if self.code.startswith(ALERT):
            return None
        return next(int(code) for prefix, code in _FAMILIES if self.code.startswith(prefix))


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
        heading[1]: Page(code=heading[1], title=heading[2], **_parts(text[heading.end() : end]))
        for heading, end in zip(headings, ends, strict=True)
    }


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
    near = [one for one in known if one.startswith(wanted)] or get_close_matches(wanted, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise NotFoundError(f"no code {code!r}", hint=f"{hint}upm explain lists all of them", code="UPM-E049")

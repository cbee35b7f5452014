"""Pictures that docs show are there, are whole, and tell nothing of the machine they were made on."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
MOST_BYTES = 150_000
REFERENCES = [(page, *found) for page in PAGES for found in SHOWN.findall(page.read_text())]
PICTURES = sorted((ROOT / "docs/images").iterdir())


def read(path: Path) -> str:
    texts = ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(each.itertext()) for each in texts)


@pytest.mark.parametrize(("page", "alt", "target"), REFERENCES, ids=[f"{r[0].stem}-{r[2]}" for r in REFERENCES])
def test_every_picture_that_docs_show_is_there_and_told_in_words(page: Path, alt: str, target: str) -> None:
    assert ElementTree.parse(page.parent / target).getroot().tag.endswith("svg")
    assert len(alt.split()) >= 5


def test_no_picture_is_left_over() -> None:
    assert {(page.parent / target).resolve() for page, _, target in REFERENCES} >= set(PICTURES)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_whole_and_of_no_machine(path: Path) -> None:
    raw = path.read_text()
    assert len(raw.encode()) < MOST_BYTES
    assert ElementTree.fromstring(raw).tag.endswith("svg")
    assert not re.search(r"https?://(?!www\.w3\.org|www\.textualize\.io)", raw)  # it asks nobody for anything
    shown = read(path).replace("\xa0", " ")
    assert "/srv/shop" in shown
    assert not re.search(r"\broot\b|/home/|/tmp/|/work/", shown)

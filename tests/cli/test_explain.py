import json
import re
from pathlib import Path

import pytest

from upm_cli import errors
from upm_cli.app import main
from upm_cli.exit_codes import for_error
from upm_cli.ops.explain import explain, pages, parse_pages

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"UPM-[A-Z]\d{3}")


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def codes_in_source() -> dict[str, str]:
    """Return every code that the program uses, with the file it is in."""
    found = {}
    for file in sorted((ROOT / "upm_cli").rglob("*.py")):
        for code in CODE.findall(file.read_text()):
            found[code] = str(file.relative_to(ROOT))
    return found


def test_every_code_in_use_has_a_page_and_every_page_a_code_in_use() -> None:
    used = codes_in_source()
    assert len(used) > 40
    assert {code: file for code, file in used.items() if code not in pages()} == {}
    assert set(pages()) - set(used) == set()


def test_every_page_says_what_why_and_what_to_do() -> None:
    for code, page in pages().items():
        assert page.title, code
        for part in (page.what, page.why, page.do):
            assert part.endswith((".", "…")), code
            assert len(part) > 15, code


def test_no_code_has_two_pages() -> None:
    texts = [file.read_text() for file in (ROOT / "upm_cli/assets/explain").iterdir()]
    headings = [code for text in texts for code in re.findall(r"^## (UPM-\S+)", text, re.MULTILINE)]
    assert len(headings) == len(set(headings)) == len(pages())


def test_the_exit_code_on_a_page_is_what_the_error_ends_with() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UpmError)]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("x")
        assert explain(error.code).exit_code == for_error(error), error.code


@pytest.mark.parametrize("word", ["UPM-E070", "upm-e070", "E070", " e070 "])
def test_a_page_is_found_by_any_spelling_of_its_code(capsys: pytest.CaptureFixture[str], word: str) -> None:
    code, out, _ = run(capsys, "explain", word, "--json")
    page = json.loads(out)
    assert (code, page["code"], page["title"], page["exit_code"]) == (0, "UPM-E070", "Already running", 7)


def test_people_read_paragraphs_that_fit_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "explain", "UPM-C011", "-o", "table")
    lines = out.splitlines()
    assert lines[0] == "UPM-C011  Wrong type   (exit code 3)"
    assert max(map(len, lines)) <= 96
    assert [line.split()[0] for line in lines if line[:1].isalpha()][1:] == ["What", "Why", "Do"]


def test_an_unknown_code_is_not_found_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "explain", "UPM-E07")
    assert code == 4
    assert "did you mean UPM-E07" in err


def test_pages_are_read_from_plain_text() -> None:
    text = "## UPM-E999 A title\n\nWhat: one\ntwo.\n\nWhy: because.\n\nDo: this.\n"
    (page,) = parse_pages(text).values()
    assert (page.code, page.title, page.what, page.why, page.do) == (
        "UPM-E999",
        "A title",
        "one two.",
        "because.",
        "this.",
    )

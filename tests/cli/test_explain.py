import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from upm_cli import errors
from upm_cli.app import main
from upm_cli.core.gate_guide import GUIDES
from upm_cli.exit_codes import for_error
from upm_cli.ops.explain import ALERT, explain, pages, parse_pages

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


def raised() -> Iterator[tuple[str, type[errors.UpmError], str]]:
    """Yield every code that is written beside the error it is raised with: in a call, or as a class's default."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    for file in sorted((ROOT / "upm_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                for given in node.keywords:
                    if given.arg == "code" and isinstance(given.value, ast.Constant):
                        yield str(given.value.value), kinds[node.func.id], f"{file.name}:{node.lineno}"


def test_the_exit_code_on_a_page_is_that_of_the_error_it_is_raised_with() -> None:
    found = list(raised())
    assert len(found) > 150
    wrong = [
        (code, where, explain(code).exit_code)
        for code, kind, where in found
        if code in pages() and explain(code).exit_code != for_error(kind("x"))
    ]
    assert wrong == []


def test_every_page_but_an_alert_says_how_a_command_ends() -> None:
    assert {code for code, page in pages().items() if (page.exit_code is None) != code.startswith(ALERT)} == set()


def test_every_gate_in_the_source_is_explained_by_its_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(file.read_text() for file in sorted((ROOT / "upm_cli/core").rglob("*.py")))
    gates = set(re.findall(r'gate="([a-z_]+)"', text))
    assert len(gates) > 10
    assert gates <= {guide.gate for guide in GUIDES}
    for gate in sorted(gates):
        code, out, _ = run(capsys, "explain", gate, "--json")
        assert (code, json.loads(out)["gate"]) == (0, gate)


def test_a_gate_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "explain", "gate", "quarantine", "-o", "table")
    assert out.splitlines()[0] == "gate quarantine   (of activation and rollout; never overridden)"
    assert run(capsys, "explain", "quarantine", "-o", "table")[1] == out
    assert run(capsys, "explain", "quarantine")[1] == out  # in a pipe too: it is there to be read


def test_a_word_that_is_nothing_gets_the_nearest_code_or_gate(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "explain", "gate", "quarantin")
    assert (code, "did you mean 'quarantine'?" in err) == (4, True)
    code, _, err = run(capsys, "explain", "evidense")
    assert (code, "did you mean 'evidence'?" in err) == (4, True)
    assert run(capsys, "explain", "UPM-E040", "extra")[0] == 2


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
    text = "## UPM-E999 A title\n\nExit: 4\n\nWhat: one\ntwo.\n\nWhy: because.\n\nDo: this.\n"
    (page,) = parse_pages(text).values()
    assert (page.code, page.title, page.exit_code, page.what, page.why, page.do) == (
        "UPM-E999",
        "A title",
        4,
        "one two.",
        "because.",
        "this.",
    )

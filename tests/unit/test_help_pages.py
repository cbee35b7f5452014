"""The pages of docs that are made from what `upm help` tells: the same words, and nothing else."""

import importlib.util
from pathlib import Path
from typing import Any

from upm_cli.ops import help as topics

ROOT = Path(__file__).resolve().parents[2]


def writer() -> Any:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / ".ci/write_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_made_from_help_texts_are_what_would_be_written_now() -> None:
    whole = topics.whole_pages()
    assert len(whole) >= 12
    for name, topic in whole.items():
        assert (ROOT / name).read_text() == topics.page_of(topic), f"{name}: run .ci/write_reference.py"


def test_parts_of_pages_are_what_would_be_written_now() -> None:
    made = writer()
    for name, texts in made.parts().items():
        page = (ROOT / "docs/reference" / name).read_text()
        assert made.filled(page, texts) == page, f"{name}: run .ci/write_reference.py"
        for text in texts.values():
            assert text in page


def test_every_runbook_of_docs_is_one_of_help() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert set(topics.runbooks()) == pages | {"adapter-errored"}
    assert all(one.about for one in [*topics.topics().values(), *topics.runbooks().values()])

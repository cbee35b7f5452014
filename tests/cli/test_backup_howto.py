"""docs/howto/backup.md, word for word in a real shell."""

from collections.abc import Mapping
from pathlib import Path

from test_runbooks import copy, follow, steps

from tests.cli.conftest import WINDOWS, event, lines
from upm_cli.app import main
from upm_cli.store import ledger

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/backup.md"


def test_the_page_is_followed_to_a_project_that_goes_on(
    trained_project: Path, tmp_path: Path, on_path: Mapping[str, str]
) -> None:
    copy(trained_project, tmp_path / "project")
    (tmp_path / "project/events.jsonl").write_text(lines(*(event(WINDOWS + i) for i in range(100))))
    follow(steps(PAGE), tmp_path / "project", on_path, tmp_path / "out")
    assert [each["action"] for each in ledger.read(tmp_path / "project/.upm")][-2:] == ["backup.create"] * 2
    assert "backup.restore" in [each["action"] for each in ledger.read(tmp_path / "again/.upm")]
    assert main(["doctor", "-q", "-C", str(tmp_path / "again")]) == 0

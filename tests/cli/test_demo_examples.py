import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_commands_of_the_examples_page_work_word_for_word(tmp_path: Path, on_path: Mapping[str, str]) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "examples/README.md").read_text(), re.MULTILINE | re.DOTALL)
    script = "set -e\n" + "".join(blocks) + "upm drift-report triage --json > report.json\n"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=on_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "mail/report.json").read_text())
    failed = [window["start"] for window in report["windows"] if window["verdict"] == "fail"]
    assert failed == ["2026-01-06T20:00:00.000Z"]

"""What the dashboard imports before its first frame: nothing that it needs only later."""

import os
import subprocess
import sys
from pathlib import Path

from upm_cli.app import main

LATER = (
    "duckdb",
    "numpy",
    "pyarrow",
    "zstandard",
    "cryptography",
    "safetensors",
    "upm_cli.tui.readers",  # everything that reads
    "upm_cli.tui.planners",  # everything that acts
    "upm_cli.tui.plans",
    "upm_cli.ops.status",
    "upm_cli.commands._reference",  # the help of every command
    "upm_cli.commands.train",
    "upm_cli.workers.supervisor",
)
SCRIPT = """
import sys
from upm_cli.app import main
from upm_cli.commands import tui
tui._need_terminal = lambda ctx: None
import upm_cli.tui.app as app
app.Dashboard.run = lambda self: print(*(name for name in sys.argv[2:] if name in sys.modules))
sys.exit(main(["tui", "-C", sys.argv[1]]))
"""


def test_nothing_is_imported_before_the_first_frame_that_is_needed_only_later(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "-q"]) == 0
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *LATER, "textual"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TERM": "xterm-256color"},
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["textual"]), done.stderr

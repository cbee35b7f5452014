"""What `upm --help` loads: nothing that takes long and is not needed to show it."""

import os
import subprocess
import sys
from pathlib import Path

SLOW = ("upm_cli.core.records", "upm_cli.config.schema", "upm_cli.store", "upm_cli.ops.status", "upm_cli.workers")


def test_help_loads_neither_records_nor_settings_nor_the_store() -> None:
    program = (
        "import sys, io, contextlib\n"
        "from upm_cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert main(['--help']) == 0\n"
        f"print([name for name in {SLOW} if name in sys.modules])\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.strip() == "[]", done.stderr

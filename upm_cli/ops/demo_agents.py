"""The agents of the demo: processes of their own that follow a model directory, and what each has served so far."""

import json
import os
import select
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from upm_cli.errors import PartialError

FOLDER: Final = "agents"  # of the project: what the adapter fills and the agents read
TENANT_OF: Final = {"desk-1": "team-01", "desk-2": "team-02"}
PATIENCE_S: Final = 30.0


@dataclass(slots=True)
class DemoAgents:
    """Agents by name; `served` are the versions that each has served, in order."""

    project: Path
    served: dict[str, list[int]] = field(default_factory=dict)
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _read: dict[str, bytes] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for process in self._running.values():
                stack.enter_context(process)  # closes its pipes and waits for it
                process.terminate()

    def start(self) -> None:
        """Start every agent."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("UPM_")}
        for name, tenant in TENANT_OF.items():
            about = ["--tenant", tenant, "--name", name, "--cache", str(self.project / f".{name}")]
            command = [sys.executable, "-m", "upm_cli.agent", "watch", FOLDER, *about, "--every-s", "0.2"]
            self._running[name] = subprocess.Popen(
                command, cwd=self.project, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self.served[name], self._read[name] = [], b""

    def wait_for(self, name: str, version: int) -> list[int]:
        """Return what agent `name` has served, once it serves `version`. Raises PartialError when it never does."""
        process = self._running[name]
        assert process.stdout is not None
        while self.served[name][-1:] != [version]:
            line, newline, rest = self._read[name].partition(b"\n")
            if newline:
                self._read[name] = rest
                self.served[name].append(int(json.loads(line)["version"]))
                continue
            if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
                raise self._gave_up(name, version)
            more = os.read(process.stdout.fileno(), 65_536)
            if not more:
                raise self._gave_up(name, version)
            self._read[name] += more
        return self.served[name]

    def _gave_up(self, name: str, version: int) -> PartialError:
        return PartialError(
            f"agent {name} does not serve v{version}; it served {self.served[name] or 'nothing'}",
            hint=f"upm -C {self.project} sync status",
            code="UPM-E081",
        )

"""A project's block in a crontab: between two marks, with everything else as it was, byte for byte."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.errors import BusyError, InvalidError, NotFoundError, StorageError
from upm_cli.ops.schedule_pieces import CRON, Piece, digest, name_of

_SHELL: Final = re.compile(r"^[ \t]*SHELL[ \t]*=.*$", re.MULTILINE)
_NONE: Final = ("no crontab", "no such file")  # what `crontab -l` says when there is nothing yet
_CRONTAB_S: Final = 30


@dataclass(frozen=True, slots=True)
class Crontab:
    """The crontab of `user`, read and written by the program `crontab` alone."""

    program: str
    user: str
    is_own: bool

    @property
    def where(self) -> str:
        return f"the crontab of {self.user}"

    def read(self) -> str | None:
        """Return the whole of it, None when there is none; any bytes are kept. Raises StorageError."""
        done = self._run(["-l"])
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            if any(none in said.lower() for none in _NONE):
                return None
            raise self._error("read", said)
        return done.stdout.decode("utf-8", "surrogateescape")

    def write(self, text: str, expected: str | None) -> None:
        """Put `text` in its place; nothing left is no crontab. Raises BusyError if it is not as `expected` any more."""
        if self.read() != expected:
            raise BusyError(f"{self.where} was changed meanwhile", hint="run it again", code="UPM-E189")
        done = self._run(["-"], text.encode("utf-8", "surrogateescape")) if text else self._run(["-r"])
        if done.returncode:
            raise self._error("write", done.stderr.decode(errors="replace").strip())

    def _run(self, words: Sequence[str], content: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [self.program, *([] if self.is_own else ["-u", self.user]), *words]
        env = {**os.environ, "LC_ALL": "C"}
        try:
            return subprocess.run(command, input=content, capture_output=True, check=False, timeout=_CRONTAB_S, env=env)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise self._error("use", str(exc)) from exc

    def _error(self, doing: str, said: str) -> StorageError:
        hint = "/etc/cron.allow and /etc/cron.deny say who may have one; upm schedule install systemd needs none"
        return StorageError(f"can't {doing} {self.where}: {' '.join(said.split())}", hint=hint, code="UPM-E013")


def find(user: str, *, is_own: bool) -> Crontab:
    """Return the crontab of `user`. Raises NotFoundError on a machine without cron."""
    program = shutil.which("crontab")
    if program is None:
        raise NotFoundError(
            "this machine has no cron: there is no crontab on the PATH",
            hint="install it (apt-get install cron, dnf install cronie), or: upm schedule install systemd",
            code="UPM-E185",
        )
    return Crontab(program, user, is_own)


def planned(crontab: Crontab, project: Path, lines: str) -> Piece:
    """Return the crontab with the block of `project` made of `lines`: where it stands already, or at the end."""
    whole = crontab.read()
    text = whole or ""
    before, block, after, edited = _split(text, project)
    shells = _SHELL.findall(before)
    # /bin/sh is what cron takes by itself: our lines need it said, and set back, only below another one.
    body = f"SHELL=/bin/sh\n{lines}{shells[-1]}\n" if shells else lines
    if not block and before and not before.endswith("\n"):
        before += "\n"
    made = f"{_begin(project, body)}\n{body}{_end(project)}\n"
    return Piece(kind=CRON, where=crontab.where, before=whole, after=f"{before}{made}{after}", edited=edited)


def installed(crontab: Crontab, project: Path) -> list[Piece]:
    """Return the crontab without the block of `project`; nothing when it has none."""
    whole = crontab.read()
    before, block, after, edited = _split(whole or "", project)
    left = f"{before}{after}" or None
    return [Piece(kind=CRON, where=crontab.where, before=whole, after=left, edited=edited)] if block else []


def by_hand(crontab: Crontab, project: Path) -> int:
    """Return how many lines outside of our block run something in `project`: put in by hand, from `show`."""
    before, _, after, _ = _split(crontab.read() or "", project)
    named = shlex.quote(str(project)).replace("%", "\\%")
    lines = [line for line in f"{before}{after}".splitlines() if not line.lstrip().startswith("#")]
    return sum(f" -C {named} " in line for line in lines)


def _mark(project: Path) -> str:
    return f"upm {name_of(project)}"


def _begin(project: Path, body: str) -> str:
    return f"# >>> {_mark(project)} >>> {project}; made by upm schedule install, digest {digest(body)}"


def _end(project: Path) -> str:
    return f"# <<< {_mark(project)} <<<"


def _split(text: str, project: Path) -> tuple[str, str, str, bool]:
    """Return what is before the block, the block, what is after it, and whether somebody edited the block.

    Raises InvalidError when the marks don't make one block.
    """
    mark = re.escape(_mark(project))
    begins = [*re.finditer(rf"^# >>> {mark} >>>.*\n", text, re.MULTILINE)]
    ends = [*re.finditer(rf"^# <<< {mark} <<<[ \t]*(\n|\Z)", text, re.MULTILINE)]
    if not begins and not ends:
        return text, "", "", False
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].end():
        raise InvalidError(
            f"the marks of {_mark(project)} in the crontab are not one at the beginning and one at the end",
            hint=f"crontab -e: leave one '# >>> {_mark(project)} >>>' and, below it, one '{_end(project)}', or neither",
            code="UPM-E184",
        )
    begin, end = begins[0], ends[0]
    is_ours = begin[0].rstrip("\n").endswith(f"digest {digest(text[begin.end() : end.start()])}")
    return text[: begin.start()], text[begin.start() : end.end()], text[end.end() :], not is_ours

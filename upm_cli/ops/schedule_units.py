"""The units of a project where systemd looks for them, and systemctl."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from upm_cli.errors import NotFoundError, PartialError, StorageError
from upm_cli.ops.schedule import check_path
from upm_cli.ops.schedule_pieces import SYSTEMD, Piece, digest, name_of
from upm_cli.store import fsio

SYSTEM_UNITS: Final = Path("/etc/systemd/system")
_LINGER: Final = Path("/var/lib/systemd/linger")
_HEAD: Final = re.compile(r"# Written by upm schedule install for [^\n]*\n# Digest of what follows: ([0-9a-f]+)\n")
_SYSTEMCTL_S: Final = 120


def folder_of_user(environ: Mapping[str, str]) -> Path:
    """Return where systemd looks for the units of the user who runs this."""
    given = environ.get("XDG_CONFIG_HOME", "")
    home = environ.get("HOME", "") or pwd.getpwuid(os.getuid()).pw_dir
    base = Path(given) if given.startswith("/") else Path(home) / ".config"
    check_path(str(base))
    return base / "systemd" / "user"


def unit_name(project: Path) -> str:
    """Return what the units of a project are called, without what is behind it."""
    return f"upm-{name_of(project)}"


def names(project: Path) -> tuple[str, str, str]:
    """Return the files of a project: the service, the nightly service, and its timer."""
    name = unit_name(project)
    return f"{name}.service", f"{name}-nightly.service", f"{name}-nightly.timer"


def to_enable(project: Path) -> tuple[str, str]:
    """Return the units that are started: the timer starts the nightly service."""
    service, _, timer = names(project)
    return service, timer


def planned(folder: Path, project: Path, texts: Mapping[str, str]) -> list[Piece]:
    """Return what is to be written in `folder`."""
    return [_piece(folder / name, _headed(project, text)) for name, text in texts.items()]


def installed(folder: Path, project: Path) -> list[Piece]:
    """Return what is to be removed from `folder`: the units of this project that are there."""
    return [_piece(folder / name, None) for name in names(project) if os.path.lexists(folder / name)]


def _headed(project: Path, text: str) -> str:
    head = f"# Written by upm schedule install for {project} (upm schedule remove takes it away).\n"
    return f"{head}# Digest of what follows: {digest(text)}\n{text}"


def _piece(path: Path, after: str | None) -> Piece:
    before = None
    if os.path.lexists(path):
        with fsio.telling(path, "read"):
            before = path.read_text("utf-8", "surrogateescape")
    head = _HEAD.match(before or "")
    is_ours = head is not None and before is not None and digest(before[head.end() :]) == head[1]
    return Piece(kind=SYSTEMD, where=str(path), before=before, after=after, edited=before is not None and not is_ours)


def apply(pieces: Sequence[Piece]) -> None:
    """Write and remove what is planned. Removing takes away that systemd was to start them, too."""
    for piece in pieces:
        path = Path(piece.where)
        if piece.change == "remove":
            for link in _wanted_by(path):
                fsio.durable_unlink(link)
            fsio.durable_unlink(path)
        elif piece.after is not None and piece.change != "none":
            fsio.make_folder(path.parent, mode=0o755)
            fsio.durable_write(path, piece.after.encode("utf-8", "surrogateescape"), mode=0o644)


def _wanted_by(path: Path) -> Iterator[Path]:
    """Yield the links by which `systemctl enable` let a target want the unit."""
    for link in path.parent.glob(f"*.wants/{path.name}"):
        if link.is_symlink():
            yield link


def drop_ins(pieces: Sequence[Piece]) -> list[str]:
    """Return the folders beside units in which somebody keeps additions to them: theirs, so they stay."""
    return [f"{piece.where}.d" for piece in pieces if Path(f"{piece.where}.d").is_dir()]


def check_writable(folder: Path, command: str) -> None:
    """Say before anything is asked that the folder can't be written. Raises StorageError."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise StorageError(f"{folder} can't be written by this user", hint=f"sudo {command}", code="UPM-E012")


def find_systemctl() -> str:
    """Return the path of systemctl. Raises NotFoundError on a machine without systemd."""
    found = shutil.which("systemctl")
    if found is None:
        raise NotFoundError(
            "this machine has no systemd: there is no systemctl on the PATH",
            hint="upm schedule install cron, or upm schedule show systemd --into DIR for another machine",
            code="UPM-E185",
        )
    return found


def calls_after(folder: Path, project: Path, pieces: Sequence[Piece], *, start: bool = False) -> list[list[str]]:
    """Return what is to be asked of systemctl once `pieces` are written: what is needed, or also to `start` them."""
    changes = {piece.change for piece in pieces}
    calls = [["daemon-reload"]] if changes - {"none"} else []
    units = to_enable(project)
    if start or not all(_is_wanted(folder / unit) for unit in units):
        calls.append(["enable", "--now", *units])
    if "replace" in changes:
        calls.append(["try-restart", *units])  # what runs goes on as it was started
    return calls


def _is_wanted(path: Path) -> bool:
    return any(True for _ in _wanted_by(path))


def run_systemctl(scope: str, done_so_far: str, calls: Sequence[Sequence[str]]) -> None:
    """Run systemctl once for each of `calls`. Raises PartialError with `done_so_far` and what systemctl said."""
    program = find_systemctl()
    for i, words in enumerate(calls):
        failed, said = _run([program, *_of(scope), *words])
        if failed:
            raise PartialError(
                f"{done_so_far}, but `{told(scope, words)}` failed: {' '.join(said.split())}",
                hint=f"put that right, then: {' && '.join(told(scope, rest) for rest in calls[i:])}",
                code="UPM-E188",
            )


def told(scope: str, words: Sequence[str]) -> str:
    """Return a call of systemctl as a person types it."""
    return " ".join(["systemctl", *_of(scope), *words])


def _of(scope: str) -> list[str]:
    return ["--user"] if scope == "user" else []


def _run(command: Sequence[str]) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SYSTEMCTL_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return True, str(exc)
    return bool(done.returncode), done.stderr or done.stdout


def lingers(user: str) -> bool:
    """Return whether the units of a user run while nobody is logged in."""
    return (_LINGER / user).exists()

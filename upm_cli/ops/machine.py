"""The machine under a project: what killed processes left, locks, disk, clock, modes. Looks only; `ops.repair` acts."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from upm_cli.clock import Clock
from upm_cli.errors import UpmError
from upm_cli.ids import iso
from upm_cli.store import filelock, fsio, held, layout, lease, ledger, runfiles
from upm_cli.store.collect import GRACE_MS

LOW_BYTES: Final = 200 << 20
LOW_SHARE: Final = 0.02  # of the inodes
LONG_S: Final = 60.0  # a unit of work that holds the lock for longer hangs, or is stopped
DRIFT_MS: Final = 2000  # how far back a clock may step without anybody being told
DAY_MS: Final = 86_400_000
_FIX: Final = "upm doctor --fix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `status`: pass, warn or fail."""

    name: str
    status: str
    detail: str
    hint: str = ""


def look(home: Path, clock: Clock) -> list[Finding]:
    """Return how the machine is that the project `home` (its .upm folder) lives on."""
    now_ms = clock.now_ms()
    return [
        _listed(
            "leftovers", leftovers(home, now_ms), "temporary files", "no temporary file that is older than an hour"
        ),
        _listed(
            "status_files", stale_statuses(home, now_ms), "status files of dead processes", "every status is of now"
        ),
        _lock(home, now_ms),
        _disk(home),
        _clock(home, now_ms),
        _modes(home),
        _crashes(home),
    ]


def _listed(name: str, found: list[Path], what: str, good: str, status: str = "warn") -> Finding:
    if not found:
        return Finding(name=name, status="pass", detail=good)
    return Finding(name=name, status=status, detail=f"{len(found)} {what}, the first is {found[0]}", hint=_FIX)


def _modes(home: Path) -> Finding:
    """What is open below a folder that is closed is untidy; an open .upm lets everybody in."""
    found = list(open_paths(home))
    status = "fail" if home in found else "warn"
    return _listed("modes", found, "files that others may read", "only the owner can read .upm", status)


def leftovers(home: Path, now_ms: int) -> list[Path]:
    """Return temporary files that nobody writes any more: an hour old, the next state of a dead writer, or what a
    backup that was killed held."""
    found = [path for path in _walk(home) if path.name[:1] == "." and path.suffix in (fsio.TEMP_SUFFIX, ".trash")]
    found += [home / layout.NEXT, *home.glob("**/.probe-*")]
    old = {path for path in found if not path.is_symlink() and _age_ms(path, now_ms) >= GRACE_MS}
    return sorted(old.union(held.leftovers(home)))


def stale_statuses(home: Path, now_ms: int) -> list[Path]:
    """Return the status files of processes that died without a word, and of failures older than a day."""
    return [
        runfiles.path_of(home, str(status["worker"]))
        for status in runfiles.read_statuses(home)
        if _is_stale(home, status, now_ms)
    ]


def _is_stale(home: Path, status: dict[str, Any], now_ms: int) -> bool:
    try:
        if lease.holder(home, str(status.get("lease", status["worker"]))) is not None:
            return False
        age_ms = now_ms - int(status.get("at_ms", 0))
    except (UpmError, ValueError, TypeError, KeyError):
        return False  # nothing a worker of ours would write: a person put it there
    if status.get("state") == "stopped":
        return False  # it ended as it was asked to: an ordinary upm down, or the end of the input
    failed = status.get("state") in ("failed", "fatal", "errored")
    return age_ms > (DAY_MS if failed else LONG_S * 1000)


def open_paths(home: Path) -> Iterator[Path]:
    """Yield what somebody else than the owner may read, write or enter."""
    for path in (home, *_walk(home)):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISLNK(mode) and mode & 0o077:
            yield path


def _walk(home: Path) -> Iterator[Path]:
    """Yield everything in `home`; links are not followed."""
    for folder, folders, files in os.walk(home):
        yield from (Path(folder) / name for name in sorted((*folders, *files)))


def _lock(home: Path, now_ms: int) -> Finding:
    """The kernel lets go of a lock when its process dies, so one that is held has a living holder."""
    holder = filelock.current_holder(home / layout.LOCK)
    held_s = 0.0 if holder is None else max(0.0, (now_ms - holder.since_ms) / 1000)
    if holder is None or held_s <= LONG_S:
        held = [path.stem for path in sorted((home / layout.RUN).glob("*.lease")) if lease.holder(home, path.stem)]
        return Finding(name="locks", status="pass", detail=f"the state is free; at work: {', '.join(held) or 'nobody'}")
    detail = f"the state has been locked for {held_s:.0f} s by {holder}"
    return Finding(
        name="locks", status="fail", detail=detail, hint=f"is it stopped or hanging? kill {holder.pid} is safe"
    )


def _disk(home: Path) -> Finding:
    free, _ = fsio.disk_space(home)
    left, most = fsio.inodes(home)
    share = left / most if most else 1.0
    detail = f"{free >> 20:,} MiB free" + (f", {share:.0%} of the inodes" if most else "")
    if free < LOW_BYTES or share < LOW_SHARE:
        return Finding(
            name="disk", status="fail", detail=detail, hint="free some space; upm snapshot gc; upm config show"
        )
    return Finding(name="disk", status="pass", detail=detail)


def _clock(home: Path, now_ms: int) -> Finding:
    """Hold the clock against what was written before: nothing can have happened later than now."""
    times = _times(home)
    state = home / layout.STATE
    last_ms = max([*times, state.stat().st_mtime_ns // 1_000_000 if state.exists() else 0])
    if last_ms > now_ms + DRIFT_MS:
        detail = f"it is {iso(now_ms)}, but something was written at {iso(last_ms)}: the clock was set back"
        return Finding(
            name="clock", status="fail", detail=detail, hint="set the clock (timedatectl); time stamps are kept"
        )
    back = [n for n, (before, after) in enumerate(pairwise(times), 2) if after < before - DRIFT_MS]
    if back:
        detail = f"it was set back {len(back)} times while the ledger was written, last before entry {back[-1]}"
        return Finding(name="clock", status="warn", detail=detail, hint="let chrony or timesyncd keep the time")
    ago = f"the last commit was {(now_ms - last_ms) / 1000:,.0f} s ago" if last_ms else "nothing was committed yet"
    return Finding(name="clock", status="pass", detail=f"{ago}; never set back in {len(times)} ledger entries")


def _times(home: Path) -> list[int]:
    try:
        entries = ledger.read(home)
        return [int(datetime.fromisoformat(str(entry["at"])).timestamp() * 1000) for entry in entries]
    except (UpmError, KeyError, ValueError):
        return []  # the ledger has a finding of its own


def _crashes(home: Path) -> Finding:
    found = sorted((home / "crash").glob("*.txt"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        return Finding(name="crashes", status="pass", detail="upm never crashed here")
    detail = f"{len(found)} crash files, the newest is {found[-1]}"
    return Finding(
        name="crashes", status="warn", detail=detail, hint="report it: upm doctor --bundle FILE; then remove them"
    )


def _age_ms(path: Path, now_ms: int) -> int:
    try:
        return now_ms - path.lstat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return -1

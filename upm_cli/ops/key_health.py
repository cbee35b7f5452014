"""What is wrong with the keys of a project: their files, their age, and what they should have signed."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.core.delivery.keyring import Key, Keyring
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import UpmError
from upm_cli.ops import signatures
from upm_cli.ops.key_reach import reachable, serving
from upm_cli.store import keys
from upm_cli.store.layout import KEYS

if TYPE_CHECKING:
    from upm_cli.core.records import Snapshot
    from upm_cli.store.session import Reader

DAY_MS: Final = 86_400_000
OLD_DAYS: Final = 365  # a key that signs for longer should be rotated
NAMED: Final = 5  # snapshots that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `status`: fail (nothing can be signed or checked as asked for) or warn."""

    status: str
    detail: str
    hint: str


def of_files(home: Path) -> list[Problem]:
    """Return what is wrong with the files in the folder of keys. Nothing is wrong where no key was ever made."""
    try:
        ring = keys.read(home)
    except UpmError as exc:
        return [Problem(status="fail", detail=exc.message, hint=exc.hint)]
    found = [*_open_folder(home), *_unlisted(home, ring)]
    for key in ring.keys:
        found += _private_half(home, key)
    return found


def _private_half(home: Path, key: Key) -> Iterator[Problem]:
    path = keys.seed_file(home, key.keyid)
    if not key.is_kept:
        if path.exists():
            said = f"{path}: the private half of a key that signs no more"
            yield Problem(status="warn", detail=said, hint=f"rm {path}")
        return
    try:
        keys.read_seed(home, key)
    except UpmError as exc:
        status = "fail" if key.state.value == "signing" else "warn"
        yield Problem(status=status, detail=exc.message, hint=exc.hint)


def _open_folder(home: Path) -> Iterator[Problem]:
    folder = home / KEYS
    if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        said = f"others may look into {folder} (mode {stat.S_IMODE(folder.stat().st_mode):04o})"
        yield Problem(status="fail", detail=said, hint=f"chmod 700 {folder}")


def _unlisted(home: Path, ring: Keyring) -> Iterator[Problem]:
    """Yield the files that upm would not have there: what a killed process left, or somebody put there."""
    known = {keys.LIST, *(keys.seed_file(home, each.keyid).name for each in ring.keys)}
    for path in keys.files(home):
        if path.name not in known:
            yield Problem(status="warn", detail=f"{path}: a file that {keys.LIST} does not know", hint=f"rm {path}")


def of_use(home: Path, reader: "Reader", *, is_required: bool, now_ms: int) -> list[Problem]:
    """Return what is wrong besides the files: no key though one is needed, an old one, tenants with unsigned models."""
    ring = keys.read(home)
    if ring.signing is None:
        said = "snapshot_manager.require_signature is on, and there is no key"
        return [Problem(status="fail", detail=said, hint="upm keys init")] if is_required else []
    live = serving(reader)
    back = [row for row in reachable(reader) if row not in live] if is_required else []
    return [
        *_age(ring.signing, now_ms),
        *_bare(home, live, "tenants get", status="fail" if is_required else "warn"),
        *_bare(home, back, "a rollback may need", status="warn"),
    ]


def _age(key: Key, now_ms: int) -> Iterator[Problem]:
    days = (now_ms - key.created_at_ms) / DAY_MS
    if days > OLD_DAYS:
        said = f"{key.keyid}, which signs, is {days:.0f} days old"
        yield Problem(status="warn", detail=said, hint="upm keys rotate --reason 'it is a year old'")
    elif days < -1:
        said = f"{key.keyid}, which signs, was made in the future"
        yield Problem(status="warn", detail=said, hint="set the clock of this machine")


def _bare(home: Path, rows: "list[Snapshot]", what: str, *, status: str) -> Iterator[Problem]:
    bare = [
        f"{snapshot_id(row.trainer, row.version)} is {found.words()}"
        for row, found in zip(rows, signatures.judged(home, rows), strict=True)
        if not found.is_signed
    ]
    if bare:
        more = f" and {len(bare) - NAMED} more" if len(bare) > NAMED else ""
        said = f"{what} what no believed key has signed: {', '.join(bare[:NAMED])}{more}"
        yield Problem(status=status, detail=said, hint="upm snapshot sign --all")

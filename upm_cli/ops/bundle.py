"""`upm doctor --bundle`: one file for a bug report, with what helps and without what is secret.

Nothing is taken from files with keys or tokens, and what is taken has their content replaced wherever it turns up.
"""

import io
import json
import platform
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from upm_cli import __version__
from upm_cli.clock import Clock
from upm_cli.errors import UpmError, UsageError
from upm_cli.ids import iso
from upm_cli.ops import listening, preflight, security_check
from upm_cli.ops.checks import Subject
from upm_cli.ops.machine import Finding
from upm_cli.ops.redact import Redactor
from upm_cli.store import fsio, layout, ledger, runfiles

TAIL_BYTES: Final = 64 << 10
ENTRIES: Final = 500  # of the ledger
CRASHES: Final = 20
ENDINGS: Final = (".tar.gz", ".zip")
_PACKAGES: Final = ("duckdb", "numpy", "pyarrow", "typer", "textual", "zstandard", "PyYAML", "msgspec", "cryptography")


def check_name(path: Path) -> Path:
    """Return `path`, absolute. Raises UsageError for an ending nobody can unpack, and for a file that is there."""
    if not path.name.endswith(ENDINGS):
        raise UsageError(f"{path} is neither a .tar.gz nor a .zip", hint="upm doctor --bundle upm-report.tar.gz")
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file, or remove it")
    return path.absolute()


def write(path: Path, subject: Subject, findings: Iterable[Finding]) -> list[str]:
    """Write the bundle to `path` (0600) and return the names of what is in it. Raises StorageError."""
    redact = redactor(subject)
    texts = {name: redact(text) for name, text in _members(subject, findings)}
    now_s = subject.clock.now_ms() // 1000
    packed = _zipped(texts) if path.name.endswith(".zip") else _tarred(texts, now_s)
    fsio.durable_write(path, packed)
    return sorted(texts)


def redactor(subject: Subject) -> Redactor:
    """Return what takes the secrets of this project out of a text."""
    urls = [] if subject.settings is None else [webhook.url for webhook in subject.settings.notify.webhooks]
    return Redactor(security_check.secret_files(subject), urls)


def _members(subject: Subject, findings: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each member, secrets included."""
    home = subject.home
    yield "about.json", _json(_about(subject.clock))
    yield "doctor.json", _json([asdict(finding) for finding in findings])
    yield "validate.json", _json([asdict(check) for check in preflight.run_checks(subject)])
    if subject.settings is not None:
        yield "settings.json", _json(asdict(subject.settings))
    if (subject.project / "upm.yaml").is_file():
        yield "upm.yaml", _tail(subject.project / "upm.yaml")
    yield "status.json", _json(runfiles.read_statuses(home))
    yield "ledger.jsonl", "".join(json.dumps(entry) + "\n" for entry in _ledger(home))
    yield "files.txt", "".join(f"{line}\n" for line in _files(home))
    for path in sorted((home / layout.RUN).glob("*.log*")):
        yield f"logs/{path.name}", _tail(path)
    crashes = sorted((home / "crash").glob("*.txt"), key=lambda path: path.stat().st_mtime_ns)
    for path in crashes[-CRASHES:]:
        yield f"crash/{path.name}", _tail(path)


def _about(clock: Clock) -> dict[str, Any]:
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "upm": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "packages": installed,
        "at": iso(clock.now_ms()),
        "umask": f"{listening.umask():04o}",
    }


def _ledger(home: Path) -> list[dict[str, Any]]:
    try:
        return ledger.read(home)[-ENTRIES:]
    except UpmError:
        return []  # doctor.json says what is wrong with it


def _files(home: Path) -> Iterator[str]:
    """Yield mode, size and name of what lies in .upm: names and sizes alone explain much."""
    for path in sorted(home.rglob("*")):
        found = path.lstat()
        yield f"{found.st_mode & 0o7777:04o} {found.st_size:>12} {path.relative_to(home)}"


def _tail(path: Path) -> str:
    with fsio.telling(path, "read"), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        return file.read(TAIL_BYTES).decode("utf-8", "replace")


def _json(plain: Any) -> str:
    return json.dumps(plain, indent=1, default=str) + "\n"


def _tarred(texts: Mapping[str, str], now_s: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in texts.items():
            data = text.encode()
            about = tarfile.TarInfo(f"upm-report/{name}")
            about.size, about.mode, about.mtime = len(data), 0o600, now_s
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def _zipped(texts: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(f"upm-report/{name}", text)
    return out.getvalue()

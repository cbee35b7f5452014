"""Backups: what one says of itself, which names may be in it, and which of several are kept."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeVar

from upm_cli.ids import parse_iso

Codec = Literal["zstd", "gzip", "none"]
FORMAT: Final = 1
SUFFIX: Final = ".upmbackup"
CONFIG: Final = "upm.yaml"
HOME: Final = ".upm"
STATE: Final = f"{HOME}/state.duckdb"
LEDGER: Final = f"{HOME}/ledger.jsonl"
KEYS: Final = f"{HOME}/keys/keys.json"
SUMS: Final = "SHA256SUMS"  # the last member, in the form of sha256sum
MOST_MEMBERS: Final = 10_000_000
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_.:~@+=-]{0,127}"  # never "." or "..", never hidden
_SEED: Final = re.compile(rf"{HOME}/keys/[0-9a-f]{{16}}\.pem")
_SEGMENT: Final = re.compile(rf"{HOME}/(?:log|comparisons)(?:/{_PART}){{2,5}}")
_BLOB: Final = re.compile(rf"{HOME}/blobs/sha256/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})\.(zst|gz|bin)")
_CODECS: Final[dict[str, Codec]] = {"zst": "zstd", "gz": "gzip", "bin": "none"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerAt:
    """How far a trainer had come."""

    name: str
    trained: int
    log_position: int
    version: int | None  # of its newest snapshot
    weights_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a backup says of itself before anything else in it."""

    project: str  # the name of its folder
    born_at: str  # when its first state was made: the same for all backups of one project, whatever it is called
    created_at: str
    upm: str
    schema: int
    generation: int
    ledger_entries: int
    has_keys: bool  # private ones
    files: int  # members, without the sums
    size_bytes: int  # of all of them, unpacked
    trainers: tuple[TrainerAt, ...] = ()


def encode(about: About) -> bytes:
    """Return `about` as JSON."""
    told = {"format": FORMAT, **asdict(about)}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes) -> About:
    """Return what `encode` wrote. Raises ValueError for anything else, and for a format of a later upm."""
    try:
        told = json.loads(data)
        if not isinstance(told, dict):
            raise TypeError("no object")
        version = told.pop("format")
        if version != FORMAT:
            raise ValueError(f"it has format {version!r}, this upm reads format {FORMAT}")
        trainers = tuple(_trainer(each) for each in told.pop("trainers"))
        about = About(**told, trainers=trainers)
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise ValueError("it does not say what it is") from exc
    texts = (about.project, about.born_at, about.created_at, about.upm)
    counts = (about.schema, about.generation, about.ledger_entries, about.files, about.size_bytes)
    if not all(isinstance(each, str) for each in texts) or not all(map(_is_count, counts)):
        raise ValueError("it does not say what it is")
    if parse_iso(about.created_at) < 0 or about.files > MOST_MEMBERS:
        raise ValueError(f"it claims to be of {about.created_at} and to have {about.files:,} files")
    return about


def _trainer(told: Mapping[str, Any]) -> TrainerAt:
    found = TrainerAt(**told)
    if not isinstance(found.name, str) or not _is_count(found.trained) or not _is_count(found.log_position):
        raise TypeError("no trainer")
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def file_name(about: About) -> str:
    """Return what the file of a backup is called: project, time and generation, so that names sort by age."""
    at = about.created_at[:19].replace("-", "").replace(":", "")
    return f"{safe_name(about.project)}-{at}Z-g{about.generation}{SUFFIX}"


def safe_name(project: str) -> str:
    """Return the name of a project as a part of a file name."""
    return _UNSAFE.sub("_", project).strip("._-")[:80] or "project"


def may_hold(name: str) -> bool:
    """Say whether a backup may have a member called `name`: nothing else is ever unpacked."""
    if name in (CONFIG, STATE, LEDGER, KEYS):
        return True
    return any(pattern.fullmatch(name) for pattern in (_SEED, _SEGMENT, _BLOB))


def blob_of(name: str) -> tuple[str, Codec] | None:
    """Return the digest of the raw bytes and the codec of a member that is a blob; None: it is none."""
    match = _BLOB.fullmatch(name)
    return None if match is None else (match[2], _CODECS[match[3]])


def is_seed(name: str) -> bool:
    """Say whether a member is the private half of a key."""
    return _SEED.fullmatch(name) is not None


def is_fixed(name: str) -> bool:
    """Say whether a member is in a backup whatever the state names."""
    return name in (CONFIG, STATE, LEDGER, KEYS) or is_seed(name)


def sums_text(sums: Mapping[str, str]) -> bytes:
    """Return the sums of all members as `sha256sum --check` reads them."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()


T = TypeVar("T")


def beyond(found: Sequence[tuple[About, T]], like: About, keep: int) -> list[T]:
    """Return which whole backups of the same project as `like` are too old when the newest `keep` stay.

    Another project's are never among them, though it may have the same name: they were not born at the same time.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    mine = [(about, each) for about, each in found if (about.project, about.born_at) == (like.project, like.born_at)]
    mine.sort(key=lambda pair: (pair[0].created_at, pair[0].generation), reverse=True)
    return [each for _, each in mine[keep:]]

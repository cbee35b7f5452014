"""Reading the record: ledger entries, decisions worked out again, and whether the whole of it still stands."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.core.decision import inputs_digest, recompute
from upm_cli.errors import IntegrityError, InvalidError, NotFoundError, UpmError, UsageError
from upm_cli.ids import iso
from upm_cli.nearest import did_you_mean
from upm_cli.store import activations, fsio, ledger, trainers

if TYPE_CHECKING:
    from upm_cli.clock import Clock
    from upm_cli.core.records import Activation
    from upm_cli.store.session import Store

Entry = Mapping[str, Any]  # n, at, actor, action, subject, details, prev, hash

_ID_START: Final = 6  # characters of a decision's id that are enough to name it, when they are unique
_ID: Final = re.compile(r"[0-9a-f][0-9a-f-]{5,}")


def read(store: "Store") -> list[dict[str, Any]]:
    """Return every committed entry, oldest first. Raises IntegrityError at a line that is none."""
    with store.read() as reader:
        head = reader.meta.ledger
    return ledger.read(store.home, head)


def entries(
    store: "Store",
    *,
    since_ms: int | None = None,
    actions: Sequence[str] = (),
    actor: str | None = None,
    subject: str | None = None,
) -> list[dict[str, Any]]:
    """Return the entries that fit, oldest first.

    `actions` may be shell patterns ("rollout.*"); a `subject` without a version ("main") also fits its snapshots.
    """
    since = "" if since_ms is None else iso(since_ms)
    return [
        entry
        for entry in read(store)
        if entry["at"] >= since
        and (not actions or any(fnmatchcase(entry["action"], pattern) for pattern in actions))
        and actor in (None, entry["actor"])
        and subject in (None, entry["subject"], entry["subject"].partition("@")[0])
    ]


def find(store: "Store", word: str) -> dict[str, Any]:
    """Return the entry that `word` names: its number (12, #12), a decision's id, or the beginning of one.

    Raises NotFoundError, or UsageError when several begin like that.
    """
    everything = read(store)
    number = word.removeprefix("#")
    if number.isdecimal() and (word.startswith("#") or int(number) <= len(everything) or len(number) < _ID_START):
        if 1 <= int(number) <= len(everything):
            return everything[int(number) - 1]
        raise _no_entry(f"#{number}", f"it has {len(everything):,}")
    wanted = word.lower()
    if not _ID.fullmatch(wanted):
        raise _no_entry(repr(word), f"write a number (12), or at least {_ID_START} characters of a decision's id")
    found = [entry for entry in everything if str(entry["details"].get("decision_id", "")).startswith(wanted)]
    if not found:
        raise _no_entry(f"of decision {word}", "upm audit list shows what is there")
    ids = {entry["details"]["decision_id"] for entry in found}
    if len(ids) > 1:
        raise UsageError(
            f"{len(ids)} decisions begin with {word}",
            hint="they are "
            + ", ".join(f"#{entry['n']}" for entry in found[:8])
            + ": give a number, or more of the id",
            code="UPM-E029",
        )
    return found[0]


def _no_entry(what: str, known: str) -> NotFoundError:
    return NotFoundError(f"the ledger has no entry {what}: {known}", hint="upm audit list", code="UPM-E045")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """A decision worked out again. `status`: same | differs | asked (somebody's word: nothing to work out)."""

    status: str
    differences: tuple[str, ...] = ()


def again(entry: Entry) -> Recomputed:
    """Work the decision of `entry` out again from its recorded inputs. What goes wrong with that is a difference."""
    details = entry["details"]
    if "inputs" not in details:
        return Recomputed(status="asked")
    try:
        digest = inputs_digest(details["inputs"])
        outcome = recompute(entry["action"], details["inputs"])
    except UpmError as exc:
        return Recomputed(status="differs", differences=(exc.message,))
    found = [] if digest == details.get("inputs_digest") else ["the inputs are not those the digest was taken of"]
    found += differences(details.get("outcome"), outcome, "outcome")
    return Recomputed(status="differs" if found else "same", differences=tuple(found))


def differences(recorded: Any, now: Any, at: str) -> list[str]:
    """Return where two plain values differ, one sentence for each place."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        keys = sorted(recorded.keys() | now.keys())
        return [
            line for key in keys for line in differences(recorded.get(key, _GONE), now.get(key, _GONE), f"{at}.{key}")
        ]
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        pairs = enumerate(zip(recorded, now, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{at}[{n}]")]
    if type(recorded) is type(now) and recorded == now:
        return []
    return [f"{at}: recorded {_told(recorded)}, worked out {_told(now)}"]


_GONE: Final = object()


def _told(value: Any) -> str:
    return "nothing" if value is _GONE else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of a ledger at some time, kept somewhere else."""

    count: int
    hash: str
    at: str


def head(store: "Store", clock: "Clock") -> Anchor:
    """Return the committed end of the ledger, proven, to be kept where nobody who may write here can write."""
    with store.read() as reader:
        end = reader.meta.ledger
    ledger.verify(store.home, end)
    return Anchor(count=end.count, hash=end.hash, at=iso(clock.now_ms()))


def export_head(anchor: Anchor, path: Path) -> None:
    """Write an anchor as one JSON line, for its owner's eyes only (0600)."""
    line = json.dumps({"count": anchor.count, "hash": anchor.hash, "at": anchor.at}) + "\n"
    fsio.durable_write(path, line.encode(), mode=0o600)


def read_anchors(path: Path) -> list[Anchor]:
    """Return the anchors in a file, one JSON object a line. Raises NotFoundError, InvalidError."""
    if not path.is_file():
        raise NotFoundError(f"no file {path}", hint=f"upm audit head --out {path} makes one", code="UPM-E046")
    with fsio.telling(path, "read"):
        lines = path.read_bytes().splitlines()
    found = [_anchor(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise _no_anchor(f"{path} is empty")
    return sorted(found, key=lambda anchor: anchor.count)


def _anchor(line: bytes, place: str) -> Anchor:
    try:
        row = json.loads(line)
        anchor = Anchor(count=row["count"], hash=row["hash"], at=row["at"])
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise _no_anchor(f"{place} is no exported head") from exc
    if type(anchor.count) is not int or anchor.count < 0 or not isinstance(anchor.hash, str):
        raise _no_anchor(f"{place} is no exported head")
    return anchor


def _no_anchor(why: str) -> InvalidError:
    return InvalidError(why, hint="it is written by upm audit head --out FILE, one JSON object a line", code="UPM-E035")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was found good."""

    entries: int
    uncommitted: int  # lines after the committed end, of a commit that never happened
    head_hash: str
    anchors: int
    moves: int  # activations and rollbacks in the state that the ledger tells of
    decisions: int  # entries with recorded inputs
    recomputed: int  # of them, those worked out again with the same outcome


def verify(store: "Store", *, anchors: Sequence[Anchor] = (), recomputing: bool = False) -> Audited:
    """Prove the whole record: the chain, its end, exported heads, what the state says went live, and the decisions.

    Raises IntegrityError naming the first bad entry.
    """
    with store.read() as reader:
        end = reader.meta.ledger
        moves = [move for each in trainers.list_all(reader) for move in activations.history(reader, each.name)]
    chain = ledger.verify(store.home, end)
    everything = ledger.read(store.home, end)
    _check_anchors(everything, anchors)
    _check_moves(everything, moves)
    decisions = [entry for entry in everything if "inputs" in entry["details"]]
    return Audited(
        entries=chain.entries,
        uncommitted=chain.uncommitted,
        head_hash=chain.head_hash,
        anchors=len(anchors),
        moves=len(moves),
        decisions=len(decisions),
        recomputed=_recompute(decisions) if recomputing else 0,
    )


def _check_anchors(everything: Sequence[Entry], anchors: Iterable[Anchor]) -> None:
    """Compare with exported heads, the oldest first: shows a cut tail, and a ledger that was written anew."""
    good = 0
    for anchor in anchors:
        if anchor.count > len(everything):
            raise _bad(
                len(everything) + 1,
                f"is missing: the head exported at {anchor.at} knows {anchor.count:,} entries",
                "the end of the ledger was cut off, or an older copy of the project was put in its place",
            )
        if anchor.hash != (everything[anchor.count - 1]["hash"] if anchor.count else ""):
            raise _bad(
                anchor.count,
                f"is not the one that was exported at {anchor.at}",
                f"the ledger was written anew somewhere after entry {good}, or the head is of another project",
            )
        good = anchor.count


def _check_moves(everything: Sequence[Entry], moves: "Iterable[Activation]") -> None:
    """Compare what the state says went live with the ledger."""
    told = {entry["details"]["decision_id"]: entry for entry in everything if "decision_id" in entry["details"]}
    for move in moves:
        name = f"epoch {move.epoch} of {move.trainer} (v{move.version} in {move.ring}, decision {move.decision_id})"
        entry = told.get(move.decision_id)
        if entry is None:
            raise IntegrityError(
                f"the ledger does not tell of {name}, which is in the state",
                hint="the state was changed by something else than upm: go back with upm doctor --restore",
                code="UPM-E092",
                context={"decision_id": move.decision_id},
            )
        if entry["actor"] != move.actor:
            raise _bad(
                entry["n"],
                f"and the state differ about {name}: {entry['actor']} or {move.actor}",
                "the state was changed by something else than upm",
            )


def _recompute(decisions: Iterable[Entry]) -> int:
    count = 0
    for entry in decisions:
        found = again(entry)
        if found.status != "same":
            raise IntegrityError(
                f"ledger entry {entry['n']} ({entry['action']}) comes out differently: {found.differences[0]}",
                hint=f"upm explain {entry['n']} shows everything that differs",
                code="UPM-E099",
                context={"entry": entry["n"], "differences": list(found.differences)},
            )
        count += 1
    return count


def _bad(n: int, why: str, hint: str) -> IntegrityError:
    return IntegrityError(f"ledger entry {n} {why}", hint=hint, code="UPM-E092", context={"entry": n})


def check_actions(patterns: Sequence[str], known: Iterable[str]) -> None:
    """Raise UsageError for a pattern that no action in the ledger fits, with the nearest one."""
    actions = sorted(set(known))
    for pattern in patterns:
        if not any(fnmatchcase(action, pattern) for action in actions):
            hint = did_you_mean(pattern, actions) or f"there are {', '.join(actions) or 'none'}"
            raise UsageError(f"no entry of the ledger is a {pattern!r}", hint=hint, code="UPM-E029")

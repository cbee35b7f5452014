"""Two snapshots side by side: what is said about them, and how far their weights are from each other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upm_cli.core.learning.difference import Difference, difference
from upm_cli.core.records import Snapshot
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.store import log, segmentfiles, segments, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store

_LARGEST: Final = 500_000  # names of a stream that are looked through for those of a few slots
_SKIPPED: Final = ("version", "parent", "created_at", "created_at_ms", "metrics", "log", "windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that is said about both; None: one of them does not say it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Two snapshots of one trainer. `weights` None: they are not to be compared, `note` says why."""

    before: Snapshot
    after: Snapshot
    metrics: tuple[Field, ...]  # every number measured of either
    manifest: tuple[Field, ...]  # what else is said otherwise
    weights: Difference | None
    names: Mapping[int, str]  # of the slots that changed most
    note: str = ""


def diff(store: "Store", before: Snapshot, after: Snapshot) -> Diff:
    """Compare two snapshots of one trainer; every byte of both is proven first. Raises IntegrityError."""
    (old, said_before), (new, said_after) = (snapshot_ops.load(store.home, row) for row in (before, after))
    weights, note = None, ""
    try:
        weights = difference(old, new)
    except ValueError as exc:
        note = f"the weights can't be compared: {exc}"
    return Diff(
        before=before,
        after=after,
        metrics=tuple(_fields(dict(_flat(before.metrics)), dict(_flat(after.metrics)))),
        manifest=tuple(_changed(said_before, said_after)),
        weights=weights,
        names={} if weights is None else _names(store, after, {each.slot for each in weights.top}),
        note=note,
    )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    old, new = (
        dict(_flat({key: value for key, value in said.items() if key not in _SKIPPED})) for said in (before, after)
    )
    yield from (field for field in _fields(old, new) if field.before != field.after)


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    for name in dict.fromkeys([*before, *after]):
        yield Field(name=name, before=before.get(name), after=after.get(name))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings under its dotted name."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names(store: "Store", row: Snapshot, slots: set[int]) -> dict[int, str]:
    """Return the first feature name that falls into each of `slots`; none where there are too many names to look."""
    bits = int((row.manifest.get("model") or {}).get("bits", 0))
    if not bits:
        return {}
    mask, found = (1 << bits) - 1, {1 << bits: "(bias)"} if 1 << bits in slots else {}
    with store.read() as reader:
        stream = trainers.get(reader, row.trainer).stream
        told = segments.list_for(reader, "names", stream)
    if sum(segment.rows for segment in told) > _LARGEST:
        return found
    try:
        names = log.read_names(store.home, told)
    except segmentfiles.SegmentGoneError:  # merged this moment: numbers do too
        return found
    for key, name in names.items():
        if (key & mask) in slots:
            found.setdefault(key & mask, name)
    return found

"""Everything that was told: events, ledger entries and telemetry, as CloudEvents in the order of time."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from upm_cli.clock import Clock
from upm_cli.core.event import EVENTS, TELEMETRY
from upm_cli.core.records import OutboxEvent
from upm_cli.errors import UsageError
from upm_cli.ids import iso
from upm_cli.nearest import did_you_mean
from upm_cli.ops import telemetry
from upm_cli.store import ledger, outbox
from upm_cli.store.session import Store
from upm_cli.store.unit import KEPT_EVENTS

LEDGER = "ai.upm.ledger."  # before the action of a ledger entry
_SHADOW_DELTA: Final = "ai.upm.shadow_delta"  # one comparison
_SHADOW: Final = "ai.upm.shadow"
_PAGE = 1000
_REACH = 8192  # how far back `newest` looks for what was the newest at some time
_LOOK_S = 0.2  # between two looks at whether the state is another


def cloud_events(store: Store, patterns: Sequence[str] = (), since_ms: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the CloudEvents at or after `since_ms` whose type matches one of `patterns`, oldest first.

    A pattern is a type, or a shell pattern such as `upm.drift.*`. Without any, all events and ledger entries come,
    but no telemetry. Comparisons (`ai.upm.shadow_delta`) come only by that name, in the order of the log. Raises
    UsageError for a pattern that nothing can match.
    """
    for pattern in patterns:
        _check(pattern)
    parts = [_events(store), _ledger(store)]
    if patterns:
        parts.append(_telemetry(store, since_ms))
    if _asks_for_comparisons(patterns):
        parts.append(_shadow_deltas(store, since_ms))
    since = "" if since_ms is None else iso(since_ms)
    for event in heapq.merge(*parts, key=lambda event: str(event["time"])):
        if event["time"] >= since and (not patterns or any(fnmatchcase(event["type"], p) for p in patterns)):
            yield event


def follow(
    store: Store,
    clock: Clock,
    patterns: Sequence[str] = (),
    since_ms: int | None = None,
    *,
    check: Callable[[], object] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Yield the events and ledger entries at or after `since_ms` (None: from now on), then those that come, for ever.

    Each comes once, those of one commit in the order of their times. Telemetry and comparisons are not followed.
    `check` is called at every look; what it raises ends this. Raises UsageError for a pattern that no event has.
    """
    for pattern in patterns:
        _check(pattern)
        if not (pattern.startswith(LEDGER) or any(fnmatchcase(name, pattern) for name in EVENTS)):
            raise UsageError(
                f"{pattern!r} is telemetry, which is not followed",
                hint="events and ledger entries are; telemetry without -f",
                code="UPM-E029",
            )
    with store.read() as reader:
        position, head = reader.meta.outbox_position, reader.meta.ledger
    if since_ms is not None:
        position, head = 0, ledger.Head(0, "", 0)
    since, token = "" if since_ms is None else iso(since_ms), None
    while True:
        if (now := store.token()) != token:
            token = now
            with store.read() as reader:
                found = outbox.after(reader, position, KEPT_EVENTS * 2)
                before, head = head, reader.meta.ledger
            position = found[-1].position if found else position
            entries = ledger.newest(store.home, head, head.count - before.count)
            parts = [[_told(event) for event in found], [_entry(entry) for entry in entries]]
            for event in heapq.merge(*parts, key=lambda event: str(event["time"])):
                if event["time"] >= since and (not patterns or any(fnmatchcase(event["type"], p) for p in patterns)):
                    yield event
        check()
        clock.sleep(_LOOK_S)


def newest(store: Store, limit: int, until_ms: int | None = None) -> list[dict[str, Any]]:
    """Return the newest `limit` events and ledger entries, oldest first; with `until_ms` those up to that instant.

    Events are dropped after some thousands, entries never; only the newest thousands of both are looked through.
    """
    reach = limit if until_ms is None else _REACH
    with store.read() as reader:
        events = outbox.after(reader, reader.meta.outbox_position - reach, reach)
        head = reader.meta.ledger
    entries = ledger.newest(store.home, head, reach)
    if until_ms is not None:
        events = [event for event in events if event.at_ms <= until_ms]
        entries = [entry for entry in entries if entry["at"] <= iso(until_ms)]
    parts = [[_told(event) for event in events], [_entry(entry) for entry in entries]]
    return list(heapq.merge(*parts, key=lambda event: str(event["time"])))[-limit:]


def _check(pattern: str) -> None:
    known = [*EVENTS, *TELEMETRY]
    if pattern.startswith(LEDGER) or any(fnmatchcase(name, pattern) for name in known):
        return
    if fnmatchcase(LEDGER, pattern):
        return
    raise UsageError(
        f"no event has a type like {pattern!r}",
        hint=did_you_mean(pattern, known) or "types are in docs/reference/events.md; 'upm.*' is all telemetry",
        code="UPM-E029",
    )


def _cloud_event(id: str, source: str, type: str, time: str, data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": source, "type": type, "time": time, "data": data}


def _events(store: Store) -> Iterator[dict[str, Any]]:
    position = 0
    while True:
        with store.read() as reader:
            page = outbox.after(reader, position, _PAGE)
        for event in page:
            yield _told(event)
        if len(page) < _PAGE:
            return
        position = page[-1].position


def _told(event: OutboxEvent) -> dict[str, Any]:
    return _cloud_event(event.event_id, event.source, event.type, iso(event.at_ms), dict(event.data))


def _ledger(store: Store) -> Iterator[dict[str, Any]]:
    with store.read() as reader:
        head = reader.meta.ledger
    for entry in ledger.read(store.home, head):
        yield _entry(entry)


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    data = {key: entry[key] for key in ("n", "actor", "action", "subject", "details", "hash")}
    return _cloud_event(f"ledger-{entry['n']}", "/ledger", LEDGER + entry["action"], entry["at"], data)


def _asks_for_comparisons(patterns: Sequence[str]) -> bool:
    """Say whether `patterns` ask for comparisons. They are bulk, so `ai.upm.*` is not enough."""
    return any(pattern.startswith(_SHADOW) and fnmatchcase(_SHADOW_DELTA, pattern) for pattern in patterns)


def _shadow_deltas(store: Store, since_ms: int | None) -> Iterator[dict[str, Any]]:
    from upm_cli.ops.shadow_deltas import shadow_deltas  # NumPy and Arrow, which nothing else here needs

    for id_, source, time, data in shadow_deltas(store, since_ms):
        yield _cloud_event(id_, source, _SHADOW_DELTA, time, data)


def _telemetry(store: Store, since_ms: int | None) -> Iterator[dict[str, Any]]:
    for n, point in enumerate(telemetry.read(store.home, since_ms)):
        about = point.metadata
        source = f"/trainers/{about['trainer_id']}" if "trainer_id" in about else f"/streams/{about.get('stream', '')}"
        data = {"measurements": point.measurements, "metadata": point.metadata, "count": point.count}
        yield _cloud_event(f"{point.at_ms}-{n}", source, point.name, iso(point.at_ms), data)

"""docs/reference/events.md, made from the registry by .ci/write_reference.py, so that it can't be wrong."""

from collections.abc import Iterator, Mapping

from upm_cli.core.event import EVENTS, TELEMETRY, EventType, TelemetryType

_CARRIED = {
    "outbox": "Kept in the outbox, written in the commit that made it true.",
    "input": "Read from sources; bare or in a CloudEvents envelope.",
    "comparisons": "Kept as columns in the comparisons files of the trainer.",
}


def markdown() -> str:
    """Return the reference page of all events and telemetry names."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Events and telemetry"
    yield ""
    yield "This page is made from `upm_cli/core/event.py`; a test compares the two."
    yield ""
    yield "`upm events` prints events and telemetry as [CloudEvents 1.0](https://cloudevents.io), one JSON object on"
    yield "each line: `specversion`, `id`, `source` (such as `/trainers/main`), `type`, `time`, `data`."
    yield "`--type 'upm.*'` and `--since 24h` filter."
    yield ""
    yield "## Events"
    for event in EVENTS.values():
        yield from _event(event)
    yield ""
    yield "## Telemetry"
    yield ""
    yield "Each point has a name, a time, `measurements`, `metadata` (such as the trainer), and `count`, the number of"
    yield "single measurements in it. How points are gathered and kept: [telemetry.md](telemetry.md)."
    for kind in TELEMETRY.values():
        yield from _telemetry(kind)


def _event(event: EventType) -> Iterator[str]:
    yield ""
    yield f"### `{event.type}`"
    yield ""
    yield f"{event.doc} From {event.sender} to {event.receiver}. {_CARRIED[event.carried_as]}"
    yield ""
    yield "| field | what it is | always |"
    yield "|---|---|---|"
    yield from _rows(event.fields, "yes")
    yield from _rows(event.more, "no")


def _rows(fields: Mapping[str, str], always: str) -> Iterator[str]:
    for name, doc in fields.items():
        yield f"| `{name}` | {doc} | {always} |"


def _telemetry(kind: TelemetryType) -> Iterator[str]:
    yield ""
    yield f"### `{kind.name}`"
    yield ""
    yield kind.doc
    yield ""
    yield "| measurement | unit | several become |"
    yield "|---|---|---|"
    for each in kind.measurements:
        yield f"| `{each.name}` | {each.unit} | {each.combine} |"

"""Agents and events as rows of lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from upm_cli.ids import parse_iso
from upm_cli.tui.live import AGENT_SIGNS, why_of
from upm_cli.tui.text import BAD, NONE, QUIET, WARN, age, clip, plain, right, version
from upm_cli.tui.told import Told
from upm_cli.tui.widgets.listing import Row
from upm_cli.tui.widgets.rows import Column

AGENTS: Final = (
    Column("status", "Status"),
    Column("agent", "Agent"),
    Column("tenant", "Tenant"),
    Column("trainer", "Trainer", rank=5),
    Column("version", "Has"),
    Column("lag", "Behind", is_number=True, rank=1),
    Column("synced", "Synced", is_number=True, rank=2),
    Column("agents", "Agents", rank=6),
    Column("attempts", "Tries", is_number=True, rank=4),
    Column("kind", "Kind", rank=7),
    Column("location", "Where", rank=8, least=24),
    Column("why", "Why", rank=3, least=16),
)
EVENTS: Final = (
    Column("at", "Time"),
    Column("kind", "Kind"),
    Column("subject", "About"),
    Column("text", "What", least=20),
    Column("n", "Ledger", is_number=True, rank=1),
)
_ORDER: Final = {status: n for n, status in enumerate(AGENT_SIGNS)}


def agent_rows(fleet: Mapping[str, Any], now_ms: int) -> dict[str, Row]:
    """Return every adapter, those in trouble first, then those furthest behind."""
    return {agent_key(each): _agent(each, now_ms) for each in worst_agents(fleet["adapters"])}


def worst_agents(adapters: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return adapters so that what needs a person stands on top."""
    return sorted(
        adapters,
        key=lambda each: (
            _ORDER.get(each["status"], 0),
            -(each["lag_versions"] or 0),
            each["adapter_key"],
            each["tenant"] or "",
        ),
    )


def agent_key(each: Mapping[str, Any]) -> str:
    """Return what tells one adapter row from the others."""
    return f"{each['adapter_key']} {each['tenant'] or ''}"


def agent_status(each: Mapping[str, Any]) -> Text:
    """Return the status of an adapter as symbol and word."""
    sign, style = AGENT_SIGNS.get(each["status"], ("?", WARN))
    return Text(f"{sign} {each['status']}", style=style)


def _agent(each: Mapping[str, Any], now_ms: int) -> Row:
    lag, at = each["lag_versions"], each["last_synced_at"]
    at_ms = None if at is None else parse_iso(at)
    has = version(each["version"])
    wants = "" if each["version"] == each["desired_version"] else f" → {version(each['desired_version'])}"
    return Row(
        cells={
            "status": agent_status(each),
            "agent": Text(clip(plain(each["adapter_key"]), 24)),
            "tenant": Text(clip(plain(each["tenant"] or NONE), 18)),
            "trainer": Text(clip(plain(each["trainer"]), 18)),
            "version": Text.assemble(has, (wants, WARN)),
            "lag": Text(NONE if lag is None else f"{lag:,}", style=WARN if lag else "", justify="right"),
            "synced": right("never" if at_ms is None else f"{age((now_ms - at_ms) / 1000)} ago"),
            "agents": _on(each["agents"]),
            "attempts": right(f"{each['attempts']:,}"),
            "kind": Text(plain(each["kind"])),
            "location": Text(clip(plain(each["location"]), 60), style=QUIET),
            "why": Text(clip(why_of(each), 80), style=BAD if each["last_error"] else QUIET),
        },
        values={
            "status": _ORDER.get(each["status"], 0),
            "agent": each["adapter_key"],
            "tenant": each["tenant"],
            "trainer": each["trainer"],
            "version": each["version"],
            "lag": lag,
            "synced": at_ms,
            "attempts": each["attempts"],
        },
        fields={
            "agent": each["adapter_key"],
            "tenant": each["tenant"] or "",
            "trainer": each["trainer"],
            "status": each["status"],
            "kind": each["kind"],
        },
        more=plain(f"{each['location']} {each['why'] or ''}"),
    )


def _on(agents: Mapping[str, int] | None) -> Text:
    """Return how many of the agents behind an adapter have what it delivers; None: nobody has looked, or it is one."""
    if agents is not None and not any(agents.values()):
        return Text("none", style=WARN)
    told = () if agents is None else ((agents[name], name) for name in ("on", "behind", "stale"))
    parts = [(f"{count} {name}", "" if name == "on" else WARN) for count, name in told if count]
    return Text(", ").join(Text(*each) for each in parts) if parts else Text(NONE, style=QUIET)


def event_rows(events: Sequence[Told]) -> dict[str, Row]:
    """Return events and ledger entries, oldest first."""
    return {each.id or f"{each.at} {n}": _event(each) for n, each in enumerate(events)}


def _event(each: Told) -> Row:
    return Row(
        cells={
            "at": Text(f"{each.at[5:10]} {each.at[11:19]}Z", style=QUIET),
            "kind": Text(each.kind, style=BAD if each.is_grave else "cyan"),
            "subject": Text(clip(each.subject, 28)),
            "text": Text(each.text),
            "n": right("" if each.number is None else f"{each.number:,}"),
        },
        values={"at": each.at, "kind": each.kind, "subject": each.subject, "n": each.number},
        fields={
            "type": each.kind,
            "kind": each.kind,
            "trainer": each.subject.partition("@")[0],
            "subject": each.subject,
            "actor": each.actor,
        },
    )

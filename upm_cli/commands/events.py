"""`upm events`: what happened, as CloudEvents."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._dead_letters import dead_letters
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, check_reader, emit, emit_line
from upm_cli.commands._times import since_ms

_LINE = ("time", "type", "source", "data")


def register(app: typer.Typer) -> None:
    group = new_group(invoke_without_command=True)
    group.callback()(events)
    group.command("dead-letters")(dead_letters)
    app.add_typer(group, name="events")


@command
def events(
    ctx: Context,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only this type, or a pattern ('upm.drift.*'); may be repeated."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DUR|TIME", help="The last 24h, or since 2026-11-23T12:00Z.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come, until stopped.")] = False,
) -> None:
    """Print events and ledger entries, oldest first; telemetry too when --type asks for it.

    In a pipe: one CloudEvents 1.0 object on each line. Types are in docs/reference/events.md.

    Example: upm events --since 24h

    With -f: those since --since, or none, and then each as it happens; comparisons and telemetry are left out.

    Example: upm events --type 'upm.drift.*' -o jsonl
    """
    from upm_cli.ops.events import cloud_events
    from upm_cli.ops.events import follow as follow_events

    if not (ctx.globals.output or ctx.environ.get("UPM_OUTPUT") or sys.stdout.isatty()):
        ctx.globals = replace(ctx.globals, output="jsonl")
    after_ms = since_ms(since, ctx.clock.now_ms()) if since else None
    if follow:
        for event in follow_events(ctx.store, ctx.clock, types or (), after_ms, check=check_reader):
            emit_line(ctx, event, _LINE)
        return
    columns = [
        Column("time", "TIME", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("type", "TYPE"),
        Column("source", "SOURCE"),
        Column("data", "DATA", show=_told),
    ]
    table = Table(
        key="events", columns=columns, empty="nothing has happened" + (f" since {since}" if since else " yet")
    )
    emit(ctx, {"events": list(cloud_events(ctx.store, types or (), after_ms))}, table)


def _told(data: Mapping[str, Any]) -> str:
    """Return an event in words if it is a ledger entry, else its values."""
    from upm_cli.ops.ledger_words import what

    if "action" not in data or "details" not in data:
        return _brief(data)
    reason = data["details"].get("reason")
    parts = [f"#{data['n']}", f"{data['actor']}:", str(data["subject"]), what(data["action"], data["details"])]
    return " ".join(part for part in parts if part) + (f" ({reason})" if reason else "")


def _brief(data: Mapping[str, Any]) -> str:
    """Return the values of `data` on one line; nested ones as key.key=value."""
    words = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            words += [f"{key}.{inner}={value[inner]}" for inner in value if value[inner] not in (None, "", [], {})]
        elif value not in (None, "", []) and key != "hash":
            words.append(f"{key}={value}")
    return " ".join(words)

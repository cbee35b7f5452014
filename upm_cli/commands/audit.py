"""`upm audit`: who did what when, and whether the record still stands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._entries import describe, show_text
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._times import since_ms


def register(app: typer.Typer) -> None:
    group = new_group(help="Read and prove the record of who did what, when and why.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("head")(head)
    app.add_typer(group, name="audit")


@command
def list_(
    ctx: Context,
    since: Annotated[
        str | None, typer.Option(metavar="DUR|TIME", help="The last 24h, or since 2026-11-23T12:00Z.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only this action, or a pattern ('rollout.*'); may be repeated."),
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="USER", help="Only what this user or worker did.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only about this trainer (main) or snapshot (main@42).")
    ] = None,
) -> None:
    """List the entries of the ledger, oldest first.

    Example: upm audit list --since 24h

    Example: upm audit list --type 'snapshot.*' --subject main --actor alice
    """
    from upm_cli.ops import audit

    after_ms = since_ms(since, ctx.clock.now_ms()) if since else None
    found = audit.entries(ctx.store, since_ms=after_ms, actions=types or (), actor=actor, subject=subject)
    if types and not found:
        audit.check_actions(types, (entry["action"] for entry in audit.read(ctx.store)))
    columns = [
        Column("n", "N", right=True),
        Column("at", "TIME", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("actor", "WHO"),
        Column("action", "ACTION"),
        Column("subject", "SUBJECT"),
        Column("what", "WHAT"),
        Column("reason", "WHY"),
    ]
    table = Table(key="entries", columns=columns, empty="the ledger has no such entry")
    emit(ctx, {"entries": [_row(entry) for entry in found]}, table)


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    from upm_cli.ops.ledger_words import what

    details = entry["details"]
    return {
        "n": entry["n"],
        "at": entry["at"],
        "actor": entry["actor"],
        "action": entry["action"],
        "subject": entry["subject"],
        "what": what(entry["action"], details),
        "reason": details.get("reason") or None,
        "decision_id": details.get("decision_id"),
        "hash": entry["hash"],
    }


@command
def show(
    ctx: Context,
    entry: Annotated[str, typer.Argument(metavar="N|ID", help="The number of an entry, or the id of a decision.")],
) -> None:
    """Show one entry as it is recorded. `upm explain` also works the decision out again.

    Example: upm audit show 12

    Example: upm audit show 019b7c01-0400 --json
    """
    from upm_cli.ops import audit

    found = audit.find(ctx.store, entry)
    emit(ctx, describe(found), text=show_text(found))


@command
def verify(
    ctx: Context,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Work every recorded decision out again; each must come out the same.")
    ] = False,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also compare with the heads in FILE (from upm audit head).")
    ] = None,
) -> None:
    """Prove the ledger: every hash, its end in the state, what went live. The first bad entry is named; exit 9.

    The chain shows every changed, removed or added entry. Against somebody who can rewrite the ledger and the state
    together, compare with a head that was exported to another place: --anchor.

    Example: upm audit verify --recompute --anchor /mnt/other/upm-head.jsonl
    """
    from upm_cli.ops import audit

    anchors = audit.read_anchors(anchor) if anchor is not None else []
    done = audit.verify(ctx.store, anchors=anchors, recomputing=recompute)
    text = f"{done.entries:,} entries, the chain is whole and ends where the state says"
    text += f"\n{done.moves:,} activations and rollbacks in the state, each in the ledger"
    if done.uncommitted:
        text += f"\nlines after that, of a commit that never happened: {done.uncommitted:,}; the next one cuts them off"
    if anchors:
        text += f"\nexported heads compared: {done.anchors:,}, all the same"
    if recompute:
        text += f"\n{done.recomputed:,} of {done.decisions:,} decisions worked out again: same outcome"
    else:
        text += f"\n{done.decisions:,} decisions on the record; --recompute works them out again"
    payload = {
        "entries": done.entries,
        "head": done.head_hash,
        "uncommitted": done.uncommitted,
        "moves": done.moves,
        "anchors": done.anchors,
        "decisions": done.decisions,
        "recomputed": done.recomputed if recompute else None,
    }
    emit(ctx, payload, text=text)


@command
def head(
    ctx: Context,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there (mode 0600) instead of printing it.")
    ] = None,
) -> None:
    """Export the end of the ledger: count, hash and time, as one JSON line. Keep it on another machine.

    Example: upm audit head --out head.json

    Example: upm audit head -o jsonl | ssh vault 'cat >> upm-heads.jsonl'
    """
    from upm_cli.ops import audit

    end = audit.head(ctx.store, ctx.clock)
    if out is not None:
        audit.export_head(end, out)
    payload = {"count": end.count, "hash": end.hash, "at": end.at, "written_to": out}
    place = f"\nwritten to {out}; compare with upm audit verify --anchor {out}" if out else ""
    emit(ctx, payload, text=f"{end.count:,} entries, hash {end.hash}{place}")

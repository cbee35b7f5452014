"""`upm keys`: make, rotate, revoke and hand out the keys that snapshots and pointers are signed with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit, write
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.ops.key_list import Listed
    from upm_cli.ops.keys import Changed

_SYMBOLS = {"signing": "●", "next": "○", "accepted": "✓", "revoked": "✗"}


def register(app: typer.Typer) -> None:
    group = new_group(help="Make, rotate, revoke and hand out the keys that sign.", no_args_is_help=True)
    group.command("init")(init)
    group.command("list")(list_)
    group.command("rotate")(rotate)
    group.command("revoke")(revoke)
    group.command("export")(export)
    app.add_typer(group, name="keys")


@changing
def init(
    ctx: Context,
    no_sign_existing: Annotated[
        bool, typer.Option("--no-sign-existing", help="Leave the snapshots there are unsigned.")
    ] = False,
) -> None:
    """Make the first signing key, and sign the snapshots there are whose bytes are right. Needs the role admin.

    From then on every snapshot is signed when it is made. The private key stays in .upm/keys, for its owner alone.

    Example: upm keys init --reason "agents will ask for signatures"
    """
    from upm_cli.ops import keys

    done = keys.init(
        ctx.store,
        ctx.clock,
        ctx.settings,
        actor=ctx.actor,
        reason=ctx.change.reason,
        sign_existing=not no_sign_existing,
        dry_run=ctx.change.dry_run,
    )
    if done.is_done:
        text = f"{done.keyid} signs already; nothing changed\nanother one: upm keys rotate --reason …"
    else:
        verb, signed = ("would make", "would sign") if ctx.change.dry_run else ("made", "signed")
        text = f"{verb} key {done.keyid or '(new)'}; {signed} {_count(done.signed)}"
        if not ctx.change.dry_run:
            text += "\nnext: upm keys export trust.json, and give that file to the agents"
    _answer(ctx, done, text)


@command
def list_(ctx: Context) -> None:
    """List the keys, oldest first: which one signs, which ones are believed, and what they have signed.

    Example: upm keys list
    """
    from upm_cli.ops import key_list

    with ctx.store.read() as reader:
        rows = [_row(each) for each in key_list.listed(ctx.home, reader)]
    columns = [
        Column("keyid", "KEY"),
        Column("state", "STATE", show=lambda state: f"{_SYMBOLS[state]} {state}"),
        Column("created_at", "CREATED", show=lambda at: at[:16].replace("T", " ") + "Z"),
        Column("private_key", "PRIVATE KEY"),
        Column("snapshots", "SIGNED", right=True, show=lambda count: f"{count:,}"),
        Column("only", "ALONE", right=True, show=lambda count: f"{count:,}"),
        Column("serving", "SERVING", show=", ".join),
        Column("revoked_at", "REVOKED", show=lambda at: at[:16].replace("T", " ") + "Z"),
        Column("reason", "WHY"),
    ]
    emit(ctx, {"keys": rows}, Table(key="keys", columns=columns, empty="there is no key: upm keys init"))


@changing
def rotate(
    ctx: Context,
    leaving: Annotated[
        str | None,
        typer.Option("--from", metavar="KEYID", help="Only if this key signs: running it again changes nothing."),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make the next key, to tell agents of it before it signs.")
    ] = False,
) -> None:
    """Let another key sign. Needs the role admin and --reason.

    What the old one has signed still counts; what serves and what can be gone back to is signed anew. Agents must be
    told of the new key (upm keys export), best before it signs: --prepare, then export, then rotate.

    Example: upm keys rotate --prepare --reason "a year is over"
    Example: upm keys rotate --reason "a year is over"
    """
    from upm_cli.ops import keys

    if prepare:
        made = keys.prepare(
            ctx.store,
            ctx.clock,
            ctx.settings,
            actor=ctx.actor,
            reason=ctx.change.reason,
            dry_run=ctx.change.dry_run,
        )
        _answer(ctx, made, _prepared(ctx, made))
        return

    def go(*, dry_run: bool) -> "Changed":
        return keys.rotate(
            ctx.store,
            ctx.clock,
            ctx.settings,
            actor=ctx.actor,
            reason=ctx.change.reason,
            leaving=leaving,
            dry_run=dry_run,
        )

    planned = go(dry_run=True)
    if not (ctx.change.dry_run or planned.is_done):
        new = planned.keyid or "a new key"
        ctx.confirm(f"this lets {new} sign in the place of {planned.before or 'none'}, whose private half is destroyed")
    done = planned if ctx.change.dry_run else go(dry_run=False)
    _answer(ctx, done, _rotated(ctx, done))


def _prepared(ctx: Context, done: "Changed") -> str:
    if done.keyid is None:
        return f"would make the key that signs after {done.before}"
    was = "is" if not done.is_done else "was already"
    return f"{done.keyid} {was} ready to sign after {done.before}\nnext: upm keys export trust.json, for all agents"


def _rotated(ctx: Context, done: "Changed") -> str:
    if done.is_done:
        return f"{done.keyid} signs already; nothing changed"
    if ctx.change.dry_run:
        new, count = done.keyid or "a new key", _count(done.signed)
        return f"would let {new} sign in the place of {done.before or 'none'}; would sign {count} anew"
    begun = "finished what had been cut short: " if done.is_resumed else ""
    old = f", in the place of {done.before}, which is still believed" if done.before else ""
    again = f"if {done.before} may be known to others: upm keys revoke {done.before} --reason …" if done.before else ""
    lines = [
        f"{begun}{done.keyid} signs{old}; signed {_count(done.signed)} anew",
        "next: upm keys export trust.json, and give that file to the agents",
        again,
    ]
    return "\n".join(line for line in lines if line)


@changing
def revoke(
    ctx: Context, keyid: Annotated[str, typer.Argument(metavar="KEYID", help="Or how it begins; see upm keys list.")]
) -> None:
    """Let what a key has signed count no more, for good. Needs the role admin and --reason.

    Snapshots that only this key has signed are unsigned until upm snapshot sign. The key that signs can't be revoked:
    rotate first.

    Example: upm keys revoke 3f2a90c1d4e5b677 --reason "the backup tape was lost"
    """
    from upm_cli.ops import keys

    def go(*, dry_run: bool) -> "Changed":
        return keys.revoke(
            ctx.store, ctx.clock, ctx.settings, keyid, actor=ctx.actor, reason=ctx.change.reason, dry_run=dry_run
        )

    planned = go(dry_run=True)
    if not (ctx.change.dry_run or planned.is_done):
        ctx.confirm(f"this revokes {planned.keyid} for good (unsigned from then on: {_count(planned.unsigned)})")
    done = planned if ctx.change.dry_run else go(dry_run=False)
    if done.is_done:
        text = f"{done.keyid} was revoked already; nothing changed"
    elif ctx.change.dry_run:
        text = f"would revoke {done.keyid}; unsigned from then on: {_count(done.unsigned)}"
    else:
        text = f"{done.keyid} is revoked; unsigned from now on: {_count(done.unsigned)}"
        text += "\nnext: upm keys export trust.json, and give that file to the agents"
    _answer(ctx, done, text)


@command
def export(
    ctx: Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: standard output.", show_default=False)
    ] = None,
) -> None:
    """Write the trust file: the public keys that agents are to believe, and the revoked ones. Nothing in it is secret.

    Give it to agents by another way than models, so that who can change models can't change whom they believe.

    Example: upm keys export trust.json
    """
    from upm_cli.core.canonical import canonical_json
    from upm_cli.ops import keys
    from upm_cli.store import fsio

    trust = keys.trust(ctx.home).to_json()
    text = canonical_json(trust) + "\n"
    if file is None:
        write(text)
        return
    fsio.durable_write(file, text.encode(), mode=0o644)
    payload = {"file": file, "keys": len(trust["keys"]), "revoked": len(trust["revoked"])}
    said = f"{file}: {payload['keys']} believed, {payload['revoked']} revoked"
    emit(ctx, payload, text=said)


def _answer(ctx: Context, done: "Changed", text: str) -> None:
    for error in done.damaged:
        ctx.say.warn(f"not signed: {error.message}")
    if done.serving:
        ctx.say.warn(
            f"tenants get {', '.join(done.serving)}, which no believed key has signed: upm snapshot sign --all"
        )
    payload: dict[str, Any] = {
        "keyid": done.keyid,
        "before": done.before,
        "signed": done.signed,
        "unsigned": done.unsigned,
        "serving": done.serving,
        "damaged": [error.message for error in done.damaged],
        "resumed": done.is_resumed,
        "changed": not done.is_done and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=text)


def _row(each: "Listed") -> dict[str, Any]:
    key = each.key
    return {
        "keyid": key.keyid,
        "state": key.state.value,
        "created_at": iso(key.created_at_ms),
        "private_key": each.private,
        "snapshots": each.snapshots,
        "only": each.only,
        "serving": each.serving,
        "revoked_at": None if key.revoked_at_ms is None else iso(key.revoked_at_ms),
        "reason": key.reason or None,
    }


def _count(ids: tuple[str, ...]) -> str:
    return f"{len(ids):,} snapshot{'' if len(ids) == 1 else 's'}"

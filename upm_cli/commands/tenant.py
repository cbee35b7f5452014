"""`upm tenant`: which snapshot a tenant gets and why; who is let in first, and who never is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._versions import TrainerArg

if TYPE_CHECKING:
    from upm_cli.core.rollouts.routing import Routed
    from upm_cli.ops.tenants import Known, Ruled

TenantArg = Annotated[str, typer.Argument(metavar="TENANT", help="As in tenant_id of the windows.")]


def register(app: typer.Typer) -> None:
    group = new_group(help="Which snapshot a tenant gets and why; lists of tenants.", no_args_is_help=True)
    group.command("route")(route)
    group.command("list")(list_)
    group.command("allow")(allow)
    group.command("deny")(deny)
    group.command("clear")(clear)
    app.add_typer(group, name="tenant")


@command
def route(
    ctx: Context,
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="As in tenant_id of the windows; '' for windows without one.")
    ],
    trainer: TrainerArg = None,
) -> None:
    """Tell which snapshot a tenant gets now, and why.

    The hold-out comes first (upm anchor): a tenant in it stays on the anchor. Then deny wins over held back, not
    eligible, allow, let in early, and then the tenant's place in the draw. Who is allowed is never held out.

    Example: upm tenant route acme main
    """
    from upm_cli.ops import tenants

    name = ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        found = tenants.route(reader, ctx.settings, name, tenant)
    emit(ctx, {"trainer": name, **tenants.as_json(found)}, text="\n".join(_route_lines(name, found)))


def _route_lines(name: str, found: "Routed") -> Iterator[str]:
    who = f"tenant {found.tenant}" if found.tenant else "a window without a tenant"
    if found.version is None:
        yield f"{who} gets nothing of {name}: {found.detail}"
    else:
        yield f"{who} gets v{found.version} of {name}: {found.detail}"
    if found.holdout and found.reason != "held_out":
        yield f"  {found.holdout}"
    for ring, asked in found.asked:
        mark = "in " if asked.is_exposed else "out"
        yield f"  {ring:<7} {mark} {asked.reason.replace('_', ' ')}: {asked.detail}"


@command
def list_(ctx: Context, trainer: TrainerArg = None) -> None:
    """List the tenants that are known by name: with a rule, held back, let in early, or seen by the drift monitor.

    Example: upm tenant list main
    """
    from upm_cli.ops import tenants

    name = ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        found = tenants.known(reader, ctx.settings, name)
    columns = [
        Column("tenant", "TENANT"),
        Column("rules", "RULES", show=" ".join),
        Column("version", "GETS", right=True, show=lambda version: f"v{version}"),
        Column("ring", "RING"),
        Column("detail", "WHY"),
        Column("reason", "REASON"),
        Column("actor", "BY"),
    ]
    empty = f"no tenant of {name} is known by name yet; upm tenant route TENANT tells about any"
    emit(
        ctx,
        {"trainer": name, "tenants": [_row(each) for each in found]},
        Table(key="tenants", columns=columns, empty=empty),
    )


def _row(each: "Known") -> dict[str, Any]:
    rules = [rule.rule for rule in each.rules] + (["held back"] if each.is_held else [])
    routed = each.routed
    return {
        "tenant": each.tenant,
        "rules": rules,
        "seen": each.is_seen,
        "version": routed.version,
        "ring": None if routed.ring is None else routed.ring.value,
        "why": routed.reason,
        "detail": routed.detail,
        "reason": next((rule.reason for rule in each.rules if rule.reason), None),
        "actor": next((rule.actor for rule in each.rules), None),
    }


@changing
def allow(ctx: Context, tenant: TenantArg, trainer: TrainerArg = None) -> None:
    """Let a tenant in from the first percent on, if it may be part of a canary (policy.canary_tenants).

    Example: upm tenant allow acme main --reason "they asked for it"
    """
    _rule(ctx, tenant, trainer, "allow")


@changing
def deny(ctx: Context, tenant: TenantArg, trainer: TrainerArg = None) -> None:
    """Keep a tenant on what served before, whatever the share. Deny wins over allow.

    Example: upm tenant deny bank main --reason "audit until March"
    """
    _rule(ctx, tenant, trainer, "deny")


@changing
def clear(ctx: Context, tenant: TenantArg, trainer: TrainerArg = None) -> None:
    """Lift every rule about a tenant: its place in the draw decides again.

    Example: upm tenant clear bank main --reason "the audit is over"
    """
    _rule(ctx, tenant, trainer, None)


def _rule(ctx: Context, tenant: str, trainer: str | None, rule: str | None) -> None:
    from functools import partial

    from upm_cli.ops import tenants

    name = ctx.trainer_name(trainer)
    decide = partial(
        tenants.set_rule,
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        tenant,
        rule,
        actor=ctx.actor,
        reason=ctx.change.reason,
    )
    done = decide(dry_run=True)
    if not ctx.change.dry_run and not done.is_done:
        if done.moves:
            ctx.confirm(f"tenant {tenant} then gets {_version(done.after)} instead of {_version(done.before)}")
        done = decide()
    changed = not done.is_done and not ctx.change.dry_run
    payload = {
        "trainer": name,
        "tenant": tenant,
        "rule": rule,
        "from_version": done.before.version,
        "to_version": done.after.version,
        "changed": changed,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=_said(name, done, dry_run=ctx.change.dry_run))


def _said(name: str, done: "Ruled", *, dry_run: bool) -> str:
    verb = "was already" if done.is_done else "would be" if dry_run else "is"
    state = {"allow": "let in first", "deny": "kept out", None: "without a rule"}[done.rule]
    moved = f"; it gets {_version(done.after)} instead of {_version(done.before)}" if done.moves else ""
    still = "" if done.moves else f"; it gets {_version(done.after)}: {done.after.detail}"
    return f"tenant {done.tenant} of {name} {verb} {state}{moved}{still}"


def _version(routed: "Routed") -> str:
    return "nothing" if routed.version is None else f"v{routed.version}"

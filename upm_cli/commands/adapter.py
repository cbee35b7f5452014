"""`upm adapter`: the places that models are handed to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._adapters import COLUMNS, counts
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Table, emit
from upm_cli.errors import UsageError
from upm_cli.nearest import choices

if TYPE_CHECKING:
    from upm_cli.ops.adapters import Added

KINDS = ("directory", "http")
KeyArg = Annotated[str, typer.Argument(metavar="KEY", help="Its name: a-z, 0-9, '.', '_' and '-'.")]


def register(app: typer.Typer) -> None:
    group = new_group(help="The places that models are handed to: directories and HTTP agents.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("remove")(remove)
    app.add_typer(group, name="adapter")


@changing
def add(
    ctx: Context,
    key: KeyArg,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="directory or http. Default: by --path or --url.", show_default=False),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", metavar="DIR", help="The model directory; made if it is missing.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The address of an agent.")] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="T", help="Whose model goes there; may be repeated. Default: no tenant's."),
    ] = None,
    trainer: Annotated[
        str | None, typer.Option("--trainer", metavar="T", help="Whose model it is. Default: the only one.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="The agent's token (mode 0600).")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="Certificates to believe instead of the system's.")
    ] = None,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Hand over each new snapshot at once: nobody acts on its answers."),
    ] = False,
) -> None:
    """Add a place, or further tenants to one. The same again changes nothing; nothing is sent yet.

    A directory serves any number of agents that can read it. It must not be writable by just anybody. With --shadow
    it gets the newest snapshot that nothing is known against, as soon as it is made, whatever tenants get.

    Example: upm adapter add edge --kind directory --path /srv/models --tenant acme

    Example: upm adapter add branch-7 --kind http --url https://10.1.2.3:8765 --token-file branch-7.token
    """
    from upm_cli.ops import adapters

    if kind is not None and kind not in KINDS:
        raise UsageError(f"no kind of adapter {kind!r}", hint=choices(kind, KINDS), code="UPM-E029")
    if (kind == "directory" and path is None) or (kind == "http" and url is None):
        raise UsageError(
            f"an adapter of kind {kind} needs {'--path DIR' if kind == 'directory' else '--url URL'}",
            hint="upm adapter add --help",
            code="UPM-E121",
        )
    wanted = adapters.Wanted(
        key=key,
        trainer=ctx.trainer_name(trainer),
        tenants=tuple(tenant or ()),
        path=None if path is None else path.expanduser(),
        url=url,
        token_file=token_file,
        ca_file=ca_file,
        is_shadow=shadow,
    )
    done = adapters.add(
        ctx.store,
        ctx.clock,
        ctx.settings,
        wanted,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    for warning in done.warnings:
        ctx.say.warn(warning)
    first = done.rows[0]
    payload = {
        "adapter_key": key,
        "trainer": first.trainer,
        "kind": first.kind,
        "location": first.location,
        "tenants": [row.tenant_id for row in done.rows],
        "added": [row.tenant_id for row in done.new],
        "changed": bool(done.new) and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=_added(ctx, done))


def _added(ctx: Context, done: "Added") -> str:
    first = done.rows[0]
    whose = _whose([row.tenant_id for row in done.new or done.rows])
    said = f"models of {first.trainer} for {whose} to {first.location}"
    if not done.new:
        return f"adapter {first.adapter_key} hands {said} already"
    if ctx.change.dry_run:
        return f"adapter {first.adapter_key} would hand {said}"
    return f"adapter {first.adapter_key} hands {said}\nnext: upm sync run"


def _whose(tenants: list[str]) -> str:
    names = [tenant or "windows without a tenant" for tenant in tenants]
    return names[0] if len(names) == 1 else f"{len(names)} tenants"


@command
def list_(ctx: Context) -> None:
    """List the adapters, those that need somebody first. `upm sync status` says more.

    Example: upm adapter list --json
    """
    from upm_cli.ops import adapter_view

    with ctx.store.read() as reader:
        found = adapter_view.overview(reader, ctx.settings, ctx.clock.now_ms())
    empty = "no adapters yet: upm adapter add --help"
    emit(ctx, {"adapters": found["adapters"]}, Table(key="adapters", columns=COLUMNS, empty=empty))


@command
def show(ctx: Context, key: KeyArg) -> None:
    """Show everything about one adapter: what is to be there, what was confirmed, and which agents say they have it.

    Looks at the state only; `upm sync verify` asks the place itself.

    Example: upm adapter show edge
    """
    from upm_cli.ops import adapter_view, adapters

    with ctx.store.read() as reader:
        rows = adapters.find(reader, key)
    shown = [adapter_view.details(row) for row in rows]
    first = shown[0]
    payload = {name: first[name] for name in ("adapter_key", "trainer", "kind", "location", "token_file", "ca_file")}
    emit(ctx, {**payload, "tenants": shown}, text="\n".join(_shown(payload, shown)))


def _shown(about: Mapping[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"adapter {about['adapter_key']}: {about['kind']} {about['location']}, models of {about['trainer']}"
    for row in rows:
        who = f"tenant {row['tenant']}" if row["tenant"] else "windows without a tenant"
        wanted = "nothing" if row["desired_version"] is None else f"v{row['desired_version']}"
        has = "nothing" if row["version"] is None else f"v{row['version']} (epoch {row['epoch']})"
        yield f"  {who}: {row['status']}; should have {wanted}, has confirmed {has}{_agents(row)}"
        if row["note"]:
            yield f"    {row['note']}"
        if row["last_error"]:
            yield f"    after {row['attempts']} tries, {row['last_error_at']}: {row['last_error']}"


def _agents(row: Mapping[str, Any]) -> str:
    return "" if row["agents"] is None else f"; agents: {counts(row['agents'])}"


@changing
def remove(
    ctx: Context,
    key: KeyArg,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", metavar="T", help="Only this tenant of it; may be repeated.")
    ] = None,
) -> None:
    """Forget an adapter. What lies at its place stays there, and agents go on with it until it expires.

    Example: upm adapter remove edge --yes --reason "the shop was closed"
    """
    from upm_cli.ops import adapters

    def go(*, dry_run: bool) -> list[Any]:
        return adapters.remove(
            ctx.store,
            ctx.settings,
            key,
            tenants=tuple(tenant or ()),
            actor=ctx.actor,
            reason=ctx.change.reason,
            dry_run=dry_run,
        )

    gone = go(dry_run=True)
    whose = _whose([row.tenant_id for row in gone])
    if not ctx.change.dry_run:
        ctx.confirm(f"this forgets adapter {key} for {whose}; its agents get nothing new any more")
        gone = go(dry_run=False)
    payload = {
        "adapter_key": key,
        "tenants": [row.tenant_id for row in gone],
        "removed": not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    verb = "would forget" if ctx.change.dry_run else "forgot"
    emit(ctx, payload, text=f"{verb} adapter {key} for {whose}; what lies at {gone[0].location} stays")

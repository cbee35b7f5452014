"""`upm agent`: serve models over HTTP, ask an agent how it is doing, make the token that both sides share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit, flush
from upm_cli.errors import InvalidError, NotFoundError, UsageError
from upm_cli.exit_codes import ExitCode

_SAFETY = "Who may connect"
_LIMITS = "Limits"
_PULL = "Fetching models instead of being sent them"


def register(app: typer.Typer) -> None:
    group = new_group(help="Serve models over HTTP, and look at agents that do.", no_args_is_help=True)
    group.command("serve")(serve)
    group.command("status")(status)
    group.command("token")(token)
    app.add_typer(group, name="agent")


def _file(help: str, panel: str) -> Any:
    return typer.Option(metavar="FILE", help=help, rich_help_panel=panel, show_default=False)


@command
def serve(
    ctx: Context,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Its own folder: models, pointers, log.")],
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="The port; 0 takes any that is free.")] = 8765,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it calls itself. Default: the host's name.")
    ] = None,
    trainer: Annotated[
        str | None, typer.Option(metavar="TRAINER", help="The trainer meant where none is named.")
    ] = None,
    log_features: Annotated[
        bool, typer.Option("--log-features/--no-log-features", help="Whether the log has the features.")
    ] = True,
    token_file: Annotated[Path | None, _file("The token that clients have to give.", _SAFETY)] = None,
    trust: Annotated[Path | None, _file("Take only what one of these keys signed (upm keys export).", _SAFETY)] = None,
    tls_cert: Annotated[Path | None, _file("Its certificate, PEM.", _SAFETY)] = None,
    tls_key: Annotated[Path | None, _file("The key of the certificate, PEM.", _SAFETY)] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Something in front of it does TLS.", rich_help_panel=_SAFETY)
    ] = False,
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What the Host header may say; may be repeated.", rich_help_panel=_SAFETY),
    ] = None,
    pull: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", help="Follow a model directory or another agent.", rich_help_panel=_PULL),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT", help="Whose models to fetch; may be repeated.", rich_help_panel=_PULL),
    ] = None,
    pull_token_file: Annotated[Path | None, _file("The token for that URL.", _PULL)] = None,
    max_model_bytes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of a model, stored and unpacked.", rich_help_panel=_LIMITS)
    ] = 2 << 30,
    max_connections: Annotated[
        int, typer.Option(metavar="N", min=1, help="At the same time.", rich_help_panel=_LIMITS)
    ] = 256,
    max_rate: Annotated[
        float,
        typer.Option(metavar="N", min=0, help="Requests a second of one client; 0: any.", rich_help_panel=_LIMITS),
    ] = 5000,
) -> int:
    """Serve models over HTTP until it is told to stop. Needs no project.

    Models are sent to it by adapter sync (upm adapter add --http URL), or fetched with --pull. On any other address
    than this machine's own it wants a token, and TLS.

    Example: upm agent serve --dir /var/lib/upm-agent --token-file /etc/upm/token
    """
    from upm_cli.agent.server.options import Limits, ServeOptions

    try:
        from upm_cli.agent.server import run
    except ImportError as exc:
        raise UsageError(
            f"an HTTP agent needs the package {exc.name}, which is not installed",
            hint="pip install 'upm[serve]'",
            code="UPM-E149",
        ) from exc
    options = ServeOptions(
        folder=folder,
        host=host,
        port=port,
        token_file=token_file,
        trust=trust,
        name=name,
        log_features=log_features,
        trainer=trainer,
        pull=pull,
        tenants=tuple(tenant or ()),
        pull_token_file=pull_token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        host_names=tuple(host_name or ()),
        limits=Limits(model_bytes=max_model_bytes, connections=max_connections, requests_per_s=max_rate),
    )

    def started(found: run.Started) -> None:
        payload = {"agent": found.agent, "url": found.url, "pid": found.pid, "serving": found.serving}
        emit(ctx, payload, text=str(found))
        flush()

    return run.serve(options, ctx.clock, ctx.say.note, started)


@command
def status(
    ctx: Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the agent listens.")],
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The token that it wants.", show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who vouches for its certificate, PEM.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST|NETWORK",
            help="May be inside a private network, besides adapter_sync.allow_hosts; may be repeated.",
        ),
    ] = None,
) -> int:
    """Ask an agent what it serves, and whether that is fresh. Exit 6 when it serves nothing, or something stale.

    What upm sync sends to, this asks: in a project, the hosts and networks of adapter_sync.allow_hosts are allowed.

    Example: upm agent status http://127.0.0.1:8765
    """
    from upm_cli.ops.agents import ask

    found = ask(
        url,
        token_file=token_file,
        ca_file=ca_file,
        allow_hosts=(*_allowed_by_the_project(ctx), *(allow_host or ())),
        clock=ctx.clock,
        timeout_s=ctx.timeout_s or 10.0,
    )
    columns = [
        Column("trainer", "TRAINER"),
        Column("tenant", "TENANT"),
        Column("version", "VERSION", right=True, show=lambda version: f"v{version}"),
        Column("epoch", "EPOCH", right=True),
        Column("serial", "SERIAL", right=True),
        Column("digest", "DIGEST", show=lambda digest: f"{digest[:12]}…"),
        Column("loaded_at", "LOADED"),
    ]
    payload: Mapping[str, Any] = {
        "agent": found.agent,
        "url": url,
        "status": found.status,
        "stale": found.stale,
        "serving": found.serving,
    }
    title = f"agent {found.agent}: {found.status}"
    emit(ctx, payload, Table(key="serving", columns=columns, title=title, empty=title))
    return ExitCode.DONE if found.status == "ok" else ExitCode.BREACH


def _allowed_by_the_project(ctx: Context) -> tuple[str, ...]:
    """Return adapter_sync.allow_hosts; nothing where there is no project, as on the machine of an agent."""
    try:
        return ctx.settings.adapter_sync.allow_hosts
    except NotFoundError:
        return ()
    except InvalidError as exc:
        ctx.say.warn(f"adapter_sync.allow_hosts is not known: {exc.message.splitlines()[0]}")
        return ()


@changing
def token(
    ctx: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the token is to be kept.")],
    replace: Annotated[bool, typer.Option("--replace", help="Make a new one although there is one.")] = False,
) -> None:
    """Write a new secret token into a file that only its owner may read (0600). It is shown nowhere.

    The agent takes it with --token-file, and so does adapter sync; give it from one machine to the other by a safe
    way. A token that is there stays, unless --replace is given.

    Example: upm agent token /etc/upm/token
    """
    from upm_cli.safehttp.tokens import new_token, read_token
    from upm_cli.store import fsio

    is_there = file.exists()
    if is_there and not replace:
        read_token(file)
        emit(ctx, {"file": file, "created": False, "dry_run": ctx.change.dry_run}, text=f"{file} has a token already")
        return
    if not ctx.change.dry_run:
        if is_there:
            ctx.confirm(f"this replaces the token in {file}; who has the old one is not let in any more")
        fsio.durable_write(file, f"{new_token().value}\n".encode())
    would = "would write" if ctx.change.dry_run else "wrote"
    emit(ctx, {"file": file, "created": True, "dry_run": ctx.change.dry_run}, text=f"{would} a new token to {file}")

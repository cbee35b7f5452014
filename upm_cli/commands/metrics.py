"""`upm metrics`: numbers for Prometheus, the dashboard that shows them and the alerts that watch them."""

import json
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit, flush, write
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.metrics.collect import Collector
    from upm_cli.telemetry.metrics.exposition import Sample
    from upm_cli.workers.metrics_server import Access

PORT = 9464
LEDGER_EVERY_S = 3600.0
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Put this label on every sample; may be repeated."),
]
RunbookOption = Annotated[
    str,
    typer.Option("--runbook-url", metavar="URL", help="Where the pages are; {code} stands for the code of an alert."),
]


def register(app: typer.Typer) -> None:
    group = new_group(help="Numbers for Prometheus, a dashboard for Grafana, and alerts.", no_args_is_help=True)
    group.command("show")(show)
    group.command("serve")(serve)
    group.command("write")(write_)
    group.command("dashboard")(dashboard)
    group.command("alerts")(alerts)
    app.add_typer(group, name="metrics")


@command
def show(
    ctx: Context,
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="Only metrics called like this: 'upm_drift*'.")
    ] = "*",
) -> int:
    """Print the metrics as they are now. Names and units are in docs/reference/metrics.md.

    Exit 8 when a part of them could not be read: the rest is printed.

    Example: upm metrics show 'upm_drift*'
    """
    from upm_cli.telemetry.metrics.table import FAMILIES

    samples, code = _collected(ctx)
    rows = [
        {
            "name": sample.name,
            "kind": FAMILIES[sample.family].kind,
            "labels": dict(sample.labels),
            "value": sample.value,
        }
        for sample in samples
        if fnmatchcase(sample.name, pattern)
    ]
    columns = [
        Column("name", "METRIC"),
        Column("labels", "LABELS", show=_labels_text),
        Column("value", "VALUE", right=True, show=lambda value: f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"),
    ]
    empty = f"no metric is called like {pattern!r}: docs/reference/metrics.md has their names"
    emit(ctx, {"metrics": rows}, Table(key="metrics", columns=columns, empty=empty))
    return code


@command
def write_(
    ctx: Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.")],
    label: LabelOption = None,
) -> int:
    """Write the metrics to a file for the textfile collector of node_exporter, all at once. For cron.

    The file is readable by everybody (0644), whatever the umask. Exit 8 when a part of the metrics could not be read:
    the rest is written.

    Example: upm metrics write /var/lib/node_exporter/upm.prom
    """
    from upm_cli.store import fsio
    from upm_cli.telemetry.metrics.exposition import render

    constant = _constant(label)
    samples, code = _collected(ctx)
    text = render(samples, constant)
    if file == "-":
        write(text)
        return code
    path = Path(file).absolute()
    fsio.replace_file(path, text.encode(), 0o644, whatever_umask=True)
    if path.suffix != ".prom":
        ctx.say.note(f"the textfile collector only reads files whose name ends in .prom; this is {path.name}")
    written = {"path": path, "samples": len(samples), "size_bytes": len(text.encode())}
    emit(ctx, written, text=f"{len(samples)} samples in {path}")
    return code


@command
def serve(
    ctx: Context,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port; 0 takes a free one.")] = PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Who asks needs the token in it; must be there to listen beyond this machine."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="A name of this machine that may be asked for; may be repeated."
        ),
    ] = None,
    label: LabelOption = None,
) -> int:
    """Answer GET /metrics for Prometheus, and /healthz, until stopped.

    Prints the address first. Only this machine can ask, unless a token is needed: then the port may be opened to
    others, behind something that speaks TLS.

    Example: upm metrics serve --port 9464
    """
    from upm_cli.telemetry.metrics.exposition import render
    from upm_cli.workers import metrics_server
    from upm_cli.workers.lifeline import Stop

    constant, access = _constant(label), _access(ctx, host, token_file, allow_host or [])
    collector = _collector(ctx)
    stop = Stop()

    def exposition() -> str:
        samples = collector.collect()
        for part, problem in collector.problems.items():
            ctx.say.detail(f"{part}: {problem.message}")
        return render(samples, constant)

    def check_ledger() -> None:
        _check_ledger(ctx, collector)

    server = metrics_server.MetricsServer(host, port, exposition, ctx.clock, access=access, tell=ctx.say.detail)
    with server, stop.installed(), metrics_server.every(LEDGER_EVERY_S, check_ledger):
        emit(ctx, {"url": server.url, "project": ctx.project}, text=f"metrics of {ctx.project} on {server.url}")
        flush()
        return metrics_server.run(server, stop, ctx.clock)


@command
def dashboard(ctx: Context, runbook_url: RunbookOption = "") -> None:
    """Print dashboard UPM-001 as JSON, to be imported into Grafana.

    Example: upm metrics dashboard > upm-001.json
    """
    from upm_cli.telemetry.metrics import documents

    made = documents.dashboard(_runbook(runbook_url))
    write(json.dumps(made, indent=None if ctx.output == "jsonl" and not sys.stdout.isatty() else 2) + "\n")


@command
def alerts(ctx: Context, runbook_url: RunbookOption = "") -> None:
    """Print alert rules for Prometheus as YAML. `upm explain UPM-A001` is the page of the first.

    Example: upm metrics alerts > upm-alerts.yaml

    Example: upm metrics alerts --runbook-url 'https://wiki.example/upm/{code}'
    """
    from upm_cli.telemetry.metrics import documents

    made = documents.rules(_runbook(runbook_url))
    if ctx.output in ("json", "jsonl"):
        emit(ctx, made)
        return
    import yaml

    write(yaml.safe_dump(made, sort_keys=False, width=10_000, allow_unicode=True))


def _collector(ctx: Context) -> "Collector":
    from upm_cli.config.reload import reloading
    from upm_cli.ops.metrics.collect import Collector

    settings = reloading(ctx.config_path, overrides=ctx.globals.overrides, environ=ctx.environ)
    return Collector(ctx.store, ctx.clock, settings)


def _collected(ctx: Context) -> "tuple[Sequence[Sample], ExitCode]":
    """Collect once, for a command that ends; what could not be read is said, and the exit code tells."""
    collector = _collector(ctx)
    _check_ledger(ctx, collector)
    samples = collector.collect()
    for part, problem in collector.problems.items():
        ctx.say.warn(f"no metrics of {part}: {problem.message}")
    return samples, ExitCode.PARTIAL if collector.problems else ExitCode.DONE


def _check_ledger(ctx: Context, collector: "Collector") -> None:
    from upm_cli.errors import UpmError

    try:
        collector.check_ledger()
    except UpmError as exc:
        ctx.say.detail(f"the ledger could not be checked: {exc.message}")


def _access(ctx: Context, host: str, token_file: Path | None, names: Sequence[str]) -> "Access":
    from upm_cli.ops.tokens import read_token
    from upm_cli.workers.metrics_server import Access, is_loopback

    is_open = not is_loopback(host)
    if is_open and token_file is None:
        raise UsageError(
            f"{host} can be reached from other machines, and nobody would have to say who asks",
            hint="add --token-file FILE, or listen on 127.0.0.1",
            code="UPM-E029",
        )
    token = read_token(token_file) if token_file is not None else None
    if is_open:
        ctx.say.note("the token goes over the wire as it is: let something that speaks TLS stand in front")
    return Access(token=token, hosts=frozenset(name.lower() for name in names))


def _constant(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return --label NAME=VALUE as labels; a name that some metric has already is refused."""
    import re

    from upm_cli.telemetry.metrics.table import FAMILIES

    taken = {name for family in FAMILIES.values() for name in family.labels} | {"le", "job", "instance"}
    labels = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise UsageError(f"--label {pair!r} is not NAME=VALUE", hint="as in project=shop", code="UPM-E029")
        if name in taken:
            raise UsageError(f"--label {name}: the metrics have such a label already", code="UPM-E029")
        labels[name] = value
    return labels


def _runbook(url: str) -> str:
    if url and "{code}" not in url:
        raise UsageError("--runbook-url has no {code}", hint="as in https://wiki.example/upm/{code}", code="UPM-E029")
    return url


def _labels_text(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items())

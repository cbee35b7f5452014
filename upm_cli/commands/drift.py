"""`upm drift-report`: is the model still right, window by window."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context, duration_s
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit, write
from upm_cli.commands._times import instant_ms, is_duration
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.report import Report

FORMATS = ("table", "json", "md", "html")
SUFFIXES = {".json": "json", ".md": "md", ".html": "html", ".htm": "html"}
SHOWN = 30  # windows of a table; failing ones are always shown
_LONGEST_MS = 365 * 86_400_000
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def register(app: typer.Typer) -> None:
    app.command("drift-report")(drift_report)


@command
def drift_report(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DUR|TIME", help="Windows of the last 24h (event time), or since 2026-11-23T12:00Z."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="DUR", help="Cut the comparisons anew into windows this long; changes nothing."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="tenant or feature: show each, worst first; served: what agents served."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FMT", help="table, json, md or html (instead of -o).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report to FILE (.html, .md or .json).")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw P95 over time in the terminal.")] = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="breach|warn",
            help="Exit 6 when a window or a contest fails; warn: or is near the limit, starved, or a feature drifts.",
        ),
    ] = None,
) -> int:
    """Report how far predictions were from the truth, window by window, with a verdict for each.

    A window fails when the P95 of its drift scores reaches drift_monitor.drift_threshold over at least
    drift_monitor.sample_size samples; with fewer the verdict is unknown, and they count in the next window too.

    Contests come first: whether what learns, or a candidate, is worse than what serves (or than a trivial baseline
    while nothing does) on the same windows. Unknown says about how many more windows a verdict needs.

    With --by served, windows of what agents served, version by version, from the outcomes they reported. One that
    fails is a breach like any other, and quarantines the version.

    With --by feature, features of the newest windows (of --since) that are not like those the live version learned
    from are shown too, from the log. That is advice: nothing is quarantined or rolled back by it.

    Example: upm drift-report main --since 24h --plot

    Example: upm drift-report main --out drift.html

    Example: upm -q drift-report main --since 1h --fail-on breach -o json
    """
    from upm_cli.commands._drift_features import feature_policy
    from upm_cli.ops import report as reports
    from upm_cli.ops.anchors import held_out
    from upm_cli.ops.drift import policy_of

    _check(by, "--by", ("tenant", "feature", "served"))
    _check(fail_on, "--fail-on", ("breach", "warn"))
    chosen = _format(ctx, format_, out, plot=plot)
    since_ms, back_ms = _since(since)
    length_ms = _window_ms(window)
    name = ctx.trainer_name(trainer)
    report = reports.build(
        ctx.store,
        name,
        policy_of(ctx.settings.drift_monitor),
        since_ms=since_ms,
        back_ms=back_ms,
        window_ms=length_ms,
        tenants=by == "tenant",
        features=feature_policy(ctx.settings, length_ms) if by == "feature" else None,
        anchor=held_out(ctx.store, ctx.settings, name),
    )
    if out is not None:
        _save(ctx, report, chosen or "json", out)
    if out is None or ctx.globals.output:
        _print(ctx, report, ctx.globals.output if out is not None else chosen, plot=plot, served=by == "served")
    return _exit_code(ctx, report, fail_on)


def _check(value: str | None, option: str, known: tuple[str, ...]) -> None:
    if value not in (None, *known):
        raise UsageError(f"{option} can't be {value!r}", hint=f"one of: {', '.join(known)}", code="UPM-E029")


def _format(ctx: Context, given: str | None, out: Path | None, *, plot: bool) -> str | None:
    """Return table, json, md or html as asked for by --format or the name of the file; None leaves it to -o."""
    _check(given, "--format", FORMATS)
    if out is not None:
        given = given or SUFFIXES.get(out.suffix.lower())
        if given in (None, "table"):
            raise UsageError(
                f"what should {out} be?", hint="name it .html, .md or .json, or say --format", code="UPM-E029"
            )
    if plot and (out is not None or (given or ctx.globals.output) not in (None, "table")):
        raise UsageError("--plot draws in the terminal, below a table", hint="leave out --format, -o and --out")
    return "table" if plot else given


def _since(given: str | None) -> tuple[int | None, int | None]:
    """Return (instant, None) for a time, (None, milliseconds) for a duration back from the newest window."""
    if given is None:
        return None, None
    if is_duration(given):
        return None, int(duration_s(given, "--since") * 1000)
    return instant_ms(given, "--since"), None


def _window_ms(given: str | None) -> int | None:
    if given is None:
        return None
    length_ms = int(duration_s(given, "--window") * 1000)
    if not 1 <= length_ms <= _LONGEST_MS:
        raise UsageError(f"--window can't be {given!r}", hint="1ms to 365d", code="UPM-E029")
    return length_ms


def _save(ctx: Context, report: "Report", chosen: str, out: Path) -> None:
    from upm_cli.store.fsio import durable_write

    durable_write(out.absolute(), _render(report, chosen).encode(), mode=0o644)
    ctx.say.note(f"wrote {out}")


def _render(report: "Report", chosen: str) -> str:
    if chosen == "html":
        from upm_cli.ops.report_html import html

        return html(report)
    if chosen == "md":
        from upm_cli.ops.report_text import markdown

        return markdown(report)
    import json

    from upm_cli.commands._output import SCHEMA_VERSION, plain
    from upm_cli.ops.report import payload

    return json.dumps({"schema_version": SCHEMA_VERSION, **plain(payload(report))}, indent=2) + "\n"


def _print(ctx: Context, report: "Report", chosen: str | None, *, plot: bool, served: bool) -> None:
    from upm_cli.commands._drift_features import feature_headline, feature_table
    from upm_cli.ops.report import headline, payload, said_of_served
    from upm_cli.ops.report_contests import lines
    from upm_cli.ops.report_features import watched

    if chosen in ("md", "html"):
        write(_render(report, chosen))
        return
    if chosen is not None:
        ctx.globals = replace(ctx.globals, output=chosen)
    data = payload(report)
    if ctx.output != "table":
        rows = {"served_windows": data["served"]["windows"]} if served and ctx.output != "json" else {}
        emit(ctx, {**data, **rows}, _served_table() if rows else _rows_table(report))
        return
    ctx.say.note(headline(report))
    for line in (*lines(report.contests), watched(report.watch), *said_of_served(report)):
        if line:
            ctx.say.note(line)
    emit(ctx, {**data, "windows": _newest(ctx, data["windows"])}, _window_table(report))
    if served:
        emit(ctx, {"served_windows": _newest(ctx, data["served"]["windows"])}, _served_table())
    if report.tenants is not None:
        emit(ctx, data, _tenant_table())
    if report.features is not None:
        ctx.say.note(feature_headline(report.features))
        emit(ctx, {**data, "features": data["features"][:SHOWN]}, feature_table())
    if plot and report.lines:
        write("\n" + "\n".join(_chart(ctx, report)) + "\n")


def _rows_table(report: "Report") -> Table:
    """Return the table whose rows are the lines of jsonl and tsv: what was asked for by --by, else the windows."""
    from upm_cli.commands._drift_features import feature_table

    if report.features is not None:
        return feature_table()
    return _tenant_table() if report.tenants is not None else _window_table(report)


def _newest(ctx: Context, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest windows and all that fail; say how many are not shown."""
    shown = [row for at, row in enumerate(rows) if at >= len(rows) - SHOWN or row["level"] == "fail"]
    if len(shown) < len(rows):
        ctx.say.note(f"{len(rows) - len(shown)} older windows that don't fail are not shown; -o tsv has all")
    return shown


def _window_table(report: "Report") -> Table:
    columns = [
        Column("level", "VERDICT", show=_badge),
        Column("start", "FROM (UTC)", show=lambda at: at[5:16].replace("T", " ")),
        Column("n", "N", right=True, show=lambda n: f"{n:,}"),
        Column("mean", "MEAN", right=True, show=_score),
        Column("p95", "P95", right=True, show=_score),
        Column("max", "MAX", right=True, show=_score),
        Column("exceed", f"≥ {report.policy.drift_threshold:g}", right=True, show=_share),
        Column("status", "STATUS"),
    ]
    return Table(key="windows", columns=columns, empty="no comparisons yet: upm train makes them")


def _served_table() -> Table:
    columns = [
        Column("level", "VERDICT", show=_badge),
        Column("version", "VERSION", right=True, show=lambda version: f"v{version}"),
        Column("serves", "NOW", show=lambda serves: "serves" if serves else ""),
        Column("start", "FROM (UTC)", show=lambda at: at[5:16].replace("T", " ")),
        Column("n", "N", right=True, show=lambda n: f"{n:,}"),
        Column("mean", "MEAN", right=True, show=_score),
        Column("p95", "P95", right=True, show=_score),
        Column("max", "MAX", right=True, show=_score),
        Column("status", "STATUS"),
    ]
    return Table(key="served_windows", columns=columns, empty="nothing was served that an outcome is known of")


def _tenant_table() -> Table:
    from upm_cli.ops.report_contests import tenant_words

    columns = [
        Column("verdict", "VERDICT", show=_badge),
        Column("tenant", "TENANT"),
        Column("n", "N", right=True, show=lambda n: f"{n:,}"),
        Column("mean", "MEAN", right=True, show=_score),
        Column("p95", "P95", right=True, show=_score),
        Column("max", "MAX", right=True, show=_score),
        Column("evidence", "EVIDENCE", show=tenant_words),
    ]
    return Table(key="tenants", columns=columns)


def _badge(level: str) -> str:
    from upm_cli.ops.report_words import LEVELS

    return " ".join(LEVELS[level])


def _score(value: float) -> str:
    return f"{value:.3f}"


def _share(exceed: dict[str, float | None]) -> str:
    return "" if exceed["share"] is None else f"{100 * exceed['share']:.1f} %"


def _chart(ctx: Context, report: "Report") -> list[str]:
    import shutil

    from upm_cli.ops.report import minute
    from upm_cli.ops.report_chart import Bar, chart

    width = min(160, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 80
    lines = [line for line in report.lines if line.level == "unknown" or line.window.p95 is not None]
    bars = [
        Bar(w.started_at_ms, w.closed_at_ms, None if line.level == "unknown" else w.p95)
        for line in lines
        for w in (line.window,)
    ]
    return chart(
        bars,
        report.policy.drift_threshold,
        minute,
        width=width,
        ascii_only=not _draws_braille(),
        over=lambda text: f"{_RED}{text}{_PLAIN}" if ctx.color else text,
    )


def _draws_braille() -> bool:
    try:
        "⣿╌┤".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _exit_code(ctx: Context, report: "Report", fail_on: str | None) -> int:
    from upm_cli.commands._drift_features import feature_headline
    from upm_cli.ops.anchors import said
    from upm_cli.ops.report import headline

    if fail_on and (report.failing or report.failed or report.failing_served or report.taken_back):
        ctx.say.warn(headline(report))
        return ExitCode.BREACH
    if fail_on and report.anchor is not None and report.anchor.is_alarm:
        ctx.say.warn(f"{report.trainer}: {said(report.anchor)}")
        return ExitCode.BREACH
    if fail_on == "warn" and report.features is not None and report.features.drifting:
        ctx.say.warn(f"{report.trainer}: {feature_headline(report.features)}")
        return ExitCode.BREACH
    if fail_on == "warn" and report.doubtful:
        ctx.say.warn(f"{report.trainer}: {len(report.doubtful)} windows are near the limit or wait for samples")
        return ExitCode.BREACH
    return ExitCode.DONE

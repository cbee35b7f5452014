"""`upm config`: what is in force and where it came from."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit, plain, write
from upm_cli.errors import NotFoundError
from upm_cli.nearest import did_you_mean

if TYPE_CHECKING:
    from upm_cli.config.load import Loaded

KeyArg = Annotated[
    str, typer.Argument(metavar="[KEY]", help="A section, or a setting as in drift_monitor.sample_size.")
]


def register(app: typer.Typer) -> None:
    group = new_group(help="Show the settings in force, and where each of them came from.", no_args_is_help=True)
    group.command("show")(show)
    group.command("get")(get)
    group.command("schema")(schema)
    group.command("path")(path)
    app.add_typer(group, name="config")


@command
def show(
    ctx: Context,
    key: KeyArg = "",
    origin: Annotated[bool, typer.Option("--origin", help="Add where each value came from.")] = False,
) -> None:
    """Show the settings in force.

    Without a project these are the defaults, with variables and --set on top.

    Example: upm config show --origin drift_monitor
    """
    from upm_cli.config.schema import SPECS

    loaded = _load(ctx)
    rows = [
        {
            "key": path,
            "value": plain(loaded.settings.value(path)),
            "default": plain(spec.default),
            "origin": loaded.origins[path].kind,
            "where": loaded.origins[path].where,
        }
        for path, spec in SPECS.items()
        if path == key or path.startswith(f"{key}." if key else "")
    ]
    if not rows:
        raise _unknown(key)
    columns = [Column("key", "SETTING"), Column("value", "VALUE", show=_word)]
    if origin:
        columns += [Column("origin", "FROM"), Column("where", "WHERE")]
    digests = {"digest": loaded.settings.digest(), "full_digest": loaded.settings.full_digest()}
    payload = {**digests, "settings": rows}
    emit(ctx, payload, Table(key="settings", columns=columns))


@command
def get(
    ctx: Context, key: Annotated[str, typer.Argument(metavar="KEY", help="As in drift_monitor.drift_threshold.")]
) -> None:
    """Print one value, and nothing else.

    Example: upm config get drift_monitor.drift_threshold
    """
    from upm_cli.config.schema import SPECS

    if key not in SPECS:
        raise _unknown(key)
    loaded = _load(ctx)
    value = plain(loaded.settings.value(key))
    if ctx.output in ("json", "jsonl"):
        emit(ctx, {"key": key, "value": value, "origin": loaded.origins[key].kind})
    else:
        write(_word(value) + "\n")


@command
def schema(ctx: Context) -> None:
    """Print the JSON Schema of upm.yaml.

    Example: upm config schema > upm.schema.json
    """
    from upm_cli.config.json_schema import json_schema

    write(json.dumps(json_schema(), indent=2 if sys.stdout.isatty() or ctx.output != "jsonl" else None) + "\n")


@command
def path(ctx: Context) -> None:
    """Print which configuration file is in force.

    Example: upm config path
    """
    if ctx.output in ("json", "jsonl"):
        emit(ctx, {"path": ctx.config_path, "exists": ctx.config_path.is_file()})
    else:
        write(f"{ctx.config_path}\n")


def _load(ctx: Context) -> "Loaded":
    """Load the project's settings; outside a project, the defaults."""
    from upm_cli.config.load import load

    try:
        file = ctx.config_path
    except NotFoundError:
        if ctx.project_option is not None:
            raise
        ctx.say.note("no project here; these are the defaults")
        file = None
    return load(file, overrides=ctx.globals.overrides, environ=ctx.environ)


def _unknown(key: str) -> NotFoundError:
    from upm_cli.config.schema import SECTIONS, SPECS

    guess = did_you_mean(key, [*SPECS, *SECTIONS])
    return NotFoundError(f"no setting {key!r}", hint=guess or "upm config show lists them", code="UPM-E049")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

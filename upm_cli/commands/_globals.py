"""The options every command takes, before or after its name, and the decorators that add them.

    @command                                @changing
    def status(ctx: Context) -> None:       def rollback(ctx: Context, trainer: TrainerArg) -> None:

`command` adds -C, --config, --set, -o, --json, --fields, -q, -v, --color, --no-input, --timeout and --wait; `changing`
adds --dry-run, --yes and --reason as well (`ctx.change`), `planning` the first two of them. The function's first
parameter is the Context; it returns an exit code or None. All of them may also sit on the callback of a command group.
"""

import copy
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Change, Context, Globals

Command = Callable[..., int | None]

_SHARED = "Options of every command"
_CHANGE = "Before it changes anything"


_RARE = ("config_file", "overrides", "verbose", "color", "no_input", "timeout", "wait")  # only `upm --help` lists them


def _option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_SHARED, show_default=False, **more)


@dataclass(frozen=True, slots=True)
class _Options:
    """The shared options as they are typed; names are the keywords the wrapped command is called with."""

    project: Annotated[
        Path | None,
        _option("-C", "--project", "--home", metavar="DIR", help="Project folder [env UPM_PROJECT, UPM_HOME]."),
    ] = None
    config_file: Annotated[
        Path | None,
        _option("--config", metavar="FILE", help="Configuration file instead of upm.yaml [env UPM_CONFIG]."),
    ] = None
    overrides: Annotated[
        list[str] | None,
        _option("--set", metavar="KEY=VALUE", help="Override one setting; may be repeated."),
    ] = None
    output: Annotated[
        str | None,
        _option("-o", "--output", metavar="FMT", help="table, json, jsonl or tsv [env UPM_OUTPUT]."),
    ] = None
    json_output: Annotated[bool, _option("--json", help="The same as -o json.")] = False
    only_fields: Annotated[
        str | None, _option("--fields", metavar="A,B", help="Print only these fields (with -o json, jsonl or tsv).")
    ] = None
    quiet: Annotated[bool, _option("-q", "--quiet", help="Say only what went wrong.")] = False
    verbose: Annotated[int, _option("-v", "--verbose", count=True, help="Say more; -vv even more.")] = 0
    color: Annotated[str | None, _option("--color", metavar="WHEN", help="auto, always or never.")] = None
    no_input: Annotated[bool, _option("--no-input", help="Never ask.")] = False
    timeout: Annotated[str | None, _option("--timeout", metavar="DUR", help="Give up after 30s, 5m, 1h.")] = None
    wait: Annotated[
        str | None, _option("--wait", metavar="DUR", help="Wait this long for a lock that somebody holds.")
    ] = None


@dataclass(frozen=True, slots=True)
class _PlanOptions:
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.", rich_help_panel=_CHANGE)
    ] = False
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.", rich_help_panel=_CHANGE)] = False


@dataclass(frozen=True, slots=True)
class _ChangeOptions(_PlanOptions):
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="Why; kept on the record.", rich_help_panel=_CHANGE, show_default=False
        ),
    ] = ""


@functools.cache
def _parameters(options: type, hidden: tuple[str, ...] = ()) -> tuple[inspect.Parameter, ...]:
    """Return the fields of an options class as keyword-only parameters; `hidden` ones are not in the help.

    They are the same for every command, and there are a hundred commands in `upm --help`.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    defaults = inspect.signature(options).parameters
    for name in hidden:
        kind, option = typing.get_args(hints[name])
        hints[name] = Annotated[kind, _hidden(option)]
    return tuple(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name].default, annotation=hint)
        for name, hint in hints.items()
    )


def _hidden(option: Any) -> Any:
    option = copy.copy(option)
    option.hidden = True
    return option


def _globals(typed: dict[str, Any]) -> Globals:
    """Turn the shared options as typed into Globals."""
    fields = typed["only_fields"]
    return Globals(
        project=typed["project"],
        config=typed["config_file"],
        overrides=tuple(typed["overrides"] or ()),
        output="json" if typed["json_output"] else typed["output"],
        fields=tuple(name.strip() for name in fields.split(",") if name.strip()) if fields is not None else None,
        quiet=typed["quiet"],
        verbose=typed["verbose"],
        color=typed["color"],
        no_input=typed["no_input"],
        timeout=typed["timeout"],
        wait=typed["wait"],
    )


def _wrap(function: Command, *, changes: type | None = None, root: bool = False) -> Command:
    shared = _parameters(_Options, hidden=() if root else _RARE)
    change = _parameters(changes) if changes else ()
    hints = typing.get_type_hints(function, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in list(inspect.signature(function).parameters.values())[1:]
    ]

    @functools.wraps(function)
    def run(*, typer_context: typer.Context, **given: Any) -> int | None:
        seen = _globals({parameter.name: given.pop(parameter.name) for parameter in shared})
        frame: Frame = typer_context.obj
        frame = replace(frame, globals=frame.globals.merged(seen))
        typer_context.obj = frame
        if typer_context.invoked_subcommand is not None:
            return None  # the callback of a group: its subcommand runs next and sees the merged options
        changing_options = Change(**{parameter.name: given.pop(parameter.name) for parameter in change})
        with frame.open(frame.globals, changing_options) as context:
            context.root = typer_context.find_root().command
            return function(context, **given)

    frame_parameter = inspect.Parameter("typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [frame_parameter, *own, *change, *shared]
    run.__signature__ = inspect.Signature(parameters, return_annotation=int | None)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def command(function: Command) -> Command:
    """Give `function(ctx, …)` the shared options; Typer sees them as its own parameters."""
    return _wrap(function)


def root_command(function: Command) -> Command:
    """The same as `command`, for the root, whose help lists every shared option."""
    return _wrap(function, root=True)


def changing(function: Command) -> Command:
    """The same as `command`, for one that changes state: with --dry-run, --yes and --reason in `ctx.change`."""
    return _wrap(function, changes=_ChangeOptions)


def planning(function: Command) -> Command:
    """As `changing`, without --reason: for what changes this machine, not the project, and so is not on its record."""
    return _wrap(function, changes=_PlanOptions)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the root hands to the commands: the options seen so far, and how to open a Context with them."""

    globals: Globals
    open: Callable[[Globals, Change], typing.ContextManager[Context]]

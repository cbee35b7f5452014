"""`upm help`: texts about a topic, runbooks, and the help of any command."""

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._markdown import Page, render
from upm_cli.commands._output import Column, Table, emit, write
from upm_cli.errors import UsageError

if TYPE_CHECKING:
    from upm_cli.ops.help import Topic

_WIDEST: Final = 100  # longer lines are hard to read


def register(app: typer.Typer) -> None:
    app.command("help")(help_)


@command
def help_(
    ctx: Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC|COMMAND]", help="A topic, runbook NAME, config SECTION, or a command.", show_default=False
        ),
    ] = None,
) -> None:
    """Tell about a topic, or a command. Needs no project. Without anything: all commands and topics.

    Topics: quickstart, environment, exit-codes, formatting, config, cron, runbook, glossary.

    Example: upm help quickstart

    Example: upm help runbook quarantine

    Example: upm help config drift_monitor

    Example: upm help snapshot list
    """
    if words:
        _one(ctx, words)
    else:
        _everything(ctx)


def _one(ctx: Context, words: Sequence[str]) -> None:
    from upm_cli.ops import help as ops

    first, *more = words
    if first == ops.RUNBOOK and more:
        name, *rest = more
        _too_many(words, rest, 2)
        _show(ctx, ops.runbook(name))
    elif first == ops.CONFIG and more and more[0] not in _below(ctx, first):
        name, *rest = more
        _too_many(words, rest, 2)
        _show(ctx, ops.config_section(name))
    elif first in ops.topics() and not (first == ops.CONFIG and more):
        _too_many(words, more, 1)
        _show(ctx, ops.topic(first))
    else:
        _command(ctx, words)


def _too_many(words: Sequence[str], rest: Sequence[str], known: int) -> None:
    if rest:
        told = f"upm help {' '.join(words[:known])}"
        raise UsageError(f"{rest[0]!r} is one word too many", hint=told)


def _show(ctx: Context, one: "Topic") -> None:
    from upm_cli.ops import help as ops

    if ctx.output_asked not in ("", "table"):
        emit(ctx, {"topic": one.name, "title": one.title, "text": one.text})
        return
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    page = Page(width, ctx.color, lambda label, target: ops.link(one, label, target))
    write(render(one.text, page) + "\n")
    if one.name == ops.RUNBOOK:
        write("\n" + _listed("Runbooks", ops.runbooks(), "upm help runbook "))
    elif one.name == ops.CONFIG:
        write("\nThe command: upm config --help\n")
    elif one.name.startswith(f"{ops.RUNBOOK} "):
        write("\nHow to read this page: upm help runbook\n")


def _everything(ctx: Context) -> None:
    from upm_cli.ops import help as ops

    if ctx.output_asked not in ("", "table"):
        known = [*ops.topics().values(), *ops.runbooks().values()]
        rows = [{"topic": one.name, "about": one.about} for one in known]
        emit(ctx, {"topics": rows}, Table(key="topics", columns=[Column("topic"), Column("about")]))
        return
    panels: dict[str, list[str]] = {}
    for entry in ctx.root.entries.values():  # not the commands themselves: loading them all takes long
        panels.setdefault(entry.panel, []).append(entry.name)
    size = max(map(len, panels))
    lines = [f"  {panel:<{size}}  {', '.join(names)}\n" for panel, names in panels.items()]
    write(_listed("Topics", ops.topics(), "upm help ") + "\nCommands, as in upm help train; upm --help says more:\n")
    write("".join(lines))


def _listed(title: str, known: "Mapping[str, Topic]", typed: str) -> str:
    size = max(map(len, known))
    return f"{title}:\n" + "".join(f"  {typed}{name:<{size}}  {one.about}\n" for name, one in known.items())


def _command(ctx: Context, words: Sequence[str]) -> None:
    """Print the help of a command as `--help` does. Raises NotFoundError with the nearest name."""
    from upm_cli.ops import help as ops

    found, context = ctx.root, _context(ctx.root, "upm", None)
    for word in words:
        inner = found.get_command(context, word) if hasattr(found, "list_commands") else None
        if inner is None:
            raise _no_command(found, context, word) if found is not ctx.root else ops.unknown(word, _below(ctx))
        found, context = inner, _context(inner, word, context)
    text = found.get_help(context)
    if ctx.output_asked in ("", "table"):
        write(text + "\n")
    else:
        emit(ctx, {"command": context.command_path, "text": text})


def _no_command(group: Any, context: Any, word: str) -> Exception:
    from upm_cli.errors import NotFoundError
    from upm_cli.nearest import hint_for

    path = context.command_path
    known = group.list_commands(context) if hasattr(group, "list_commands") else []
    otherwise = f"{path} --help" + (" lists them" if known else "")
    return NotFoundError(f"no command {word!r} below {path}", hint=hint_for(word, known, otherwise), code="UPM-E049")


def _below(ctx: Context, *words: str) -> tuple[str, ...]:
    """Return the names of the commands below one, or of the root's."""
    group, context = ctx.root, _context(ctx.root, "upm", None)
    for word in words:
        group = group.get_command(context, word)
        context = _context(group, word, context)
    return tuple(group.list_commands(context))


def _context(command: Any, name: str, parent: Any) -> Any:
    return typer.Context(command, info_name=name, parent=parent, **command.context_settings)

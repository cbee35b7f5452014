"""The generated part of docs/reference/cli.md: every command with its arguments and options."""

from collections.abc import Iterator
from typing import Any

import typer

from upm_cli.commands._group import help_record


def cli_reference(root: Any) -> str:
    """Return Markdown for the command `root` and everything below it."""
    from upm_cli.ops.help import topic

    context = typer.Context(root, info_name="upm")
    parts = [f"#{topic(name).text}" for name in ("exit-codes", "environment")]  # a level below the page's own heading
    parts += ["## Options of every command", "", *_table(root.get_params(context), context)]
    for path, command, inner in walk(root, context):
        usage = " ".join(command.collect_usage_pieces(inner)).replace("[OPTIONS]", "").replace("  ", " ").strip()
        own = [param for param in command.get_params(inner) if not _is_shared(param)]
        parts += ["", f"## `{f'{path} {usage}'.strip()}`", "", *_help(command.help or "")]
        table = _table(own, inner)
        parts += ["", *table] if len(table) > 2 else []
    return "\n".join(parts) + "\n"


def walk(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, command, context) for every command below `group`, groups before what is in them."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        if not command.hidden:
            yield inner.command_path, command, inner
        if hasattr(command, "list_commands"):
            yield from walk(command, inner)


def _is_shared(param: Any) -> bool:
    return getattr(param, "rich_help_panel", None) == "Options of every command" or "--help" in param.opts


def _help(text: str) -> list[str]:
    lines = text.strip().splitlines()
    return [f"`{line.strip()}`" if line.startswith("Example") else line for line in lines]


def _table(params: list[Any], context: Any) -> list[str]:
    rows = ["| | |", "|---|---|"]
    for param in params:
        record = help_record(param, context)
        if record is not None and "--help" not in param.opts:
            name, meaning = (text.replace("|", "\\|") for text in record)
            rows.append(f"| `{name}` | {meaning} |")
    return rows

"""The generated part of docs/reference/cli.md: every command with its arguments and options."""

from collections.abc import Iterator
from typing import Any

import typer

from upm_cli.commands._group import help_record
from upm_cli.exit_codes import ExitCode

_MEANING = {
    ExitCode.DONE: "done, done already, or nothing to do",
    ExitCode.INTERNAL: "internal error, or the disk refused",
    ExitCode.USAGE: "wrong usage, or a confirmation that nobody could give",
    ExitCode.INVALID: "configuration or data not valid",
    ExitCode.NOT_FOUND: "no such project, trainer, version, file",
    ExitCode.REFUSED: "refused by a gate or policy",
    ExitCode.BREACH: "drift over its limit",
    ExitCode.BUSY: "somebody else holds the lock or lease; trying again is safe",
    ExitCode.PARTIAL: "some of the parts failed",
    ExitCode.INTEGRITY: "bytes are not what they were written as",
    ExitCode.TIMED_OUT: "--timeout was over",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


def cli_reference(root: Any) -> str:
    """Return Markdown for the command `root` and everything below it."""
    context = typer.Context(root, info_name="upm")
    parts = ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    parts += [f"| {int(code)} | {meaning} |" for code, meaning in _MEANING.items()]
    parts += ["", "## Options of every command", "", *_table(root.get_params(context), context)]
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

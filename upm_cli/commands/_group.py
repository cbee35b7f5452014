"""How commands and groups behave: plain help in panels, suggestions for typos, modules loaded when needed."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from upm_cli.commands._coerce import plain_value, use_plain_values
from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.errors import UsageError
from upm_cli.nearest import nearest

COMPLETE = "_UPM_COMPLETE"  # set by the shell when it asks how a word could go on
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command of the root lives and under which heading `upm --help` lists it."""

    name: str
    module: str  # upm_cli.commands.<module>, with register(app)
    panel: str


class PlainCommand(TyperCommand):
    """A command whose help shows its options under their panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [_bare(piece) for piece in super().collect_usage_pieces(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        return plain_value(super().get_help_option(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self.get_params(ctx), ctx, formatter)


class PlainGroup(TyperGroup):
    """A group of commands; a typo gets the nearest name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"] if self.no_args_is_help else args)

    def get_help_option(self, ctx: Any) -> Any:
        return plain_value(super().get_help_option(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help_text(self.help, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        names = self.list_commands(ctx)
        room = formatter.width - 6 - max(map(len, names), default=0)
        for name in names:
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                panel = getattr(found, "rich_help_panel", None) or "Commands"
                panels.setdefault(panel, []).append((name, found.get_short_help_str(room)))
        _write_panels(panels, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            near = f"{known[0]} {name}" if len(known) == 1 else nearest(name, known)  # upm completion bash
            path = ctx.command_path
            hint = f"did you mean: {path} {near}" if near else f"{path} --help lists them"
            raise UsageError(f"no command {name!r}", hint=hint, code="UPM-E026")
        return super().resolve_command(ctx, args)


class LazyGroup(PlainGroup):
    """The root: a command's module is imported when the command is run or its help is shown."""

    entries: Mapping[str, Entry] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if cmd_name not in self.commands:
            self.commands.update(_load(entry.module))
            for name in self.commands:
                self.commands[name].rich_help_panel = self.entries[name].panel  # type: ignore[attr-defined]
        return self.commands.get(cmd_name)


def new_group(name: str = "", help: str = "", **more: Any) -> typer.Typer:
    """Return a Typer for a group of commands (`upm trainer …`), with the house's help and suggestions."""
    if name:
        more["name"] = name
    if help:
        more["help"] = help
    return typer.Typer(
        cls=more.pop("cls", PlainGroup),
        rich_markup_mode=None,
        add_completion=False,
        context_settings=dict(_HELP),
        **more,
    )


def _load(module: str) -> dict[str, Any]:
    """Import a command module and return its commands by name."""
    app = new_group()
    app.callback()(lambda: None)  # keeps a single command from becoming the whole app
    importlib.import_module(f"upm_cli.commands.{module}").register(app)
    _dress(app)
    group: Any = typer.main.get_command(app)
    use_plain_values(group)
    offer_words(group)
    commands: dict[str, Any] = group.commands
    return commands


def offer_words(command: Any) -> None:
    """Let the parameters of a command, and of those below it, complete; for nothing unless the shell asks."""
    if COMPLETE in os.environ:
        from upm_cli.commands._completing import complete_names

        complete_names(command)


def _dress(app: typer.Typer) -> None:
    """Give every command of `app`, and of the groups in it, the house's help."""
    for info in app.registered_commands:
        if info.cls in (None, TyperCommand):
            info.cls = PlainCommand
        info.context_settings = dict(_HELP)
    for group in app.registered_groups:
        inner = group.typer_instance
        if inner is not None:
            if inner.registered_callback is None:
                inner.callback()(command(_nothing))  # shared options may stand between group and command
            _dress(inner)


def _nothing(ctx: Context) -> None:
    """Do nothing: the command that follows does something."""


def _write_help_text(text: str | None, formatter: Any) -> None:
    """Write a docstring: paragraphs are wrapped to the width, the ones that begin with "Example" stay as they are."""
    if not text:
        return
    paragraphs = text.strip().split("\n\n")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text("\n\n".join("\b\n" + p if p.startswith("Example") else p for p in paragraphs))


def _write_options(params: Sequence[Any], ctx: Any, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        record = help_record(param, ctx)
        if record is not None:
            kind = "Arguments" if param.param_type_name == "argument" else "Options"
            panels.setdefault(getattr(param, "rich_help_panel", None) or kind, []).append(record)
    _write_panels(panels, formatter)


def help_record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """Return how the help names and explains a parameter; None for hidden ones."""
    record = param.get_help_record(ctx)
    if record is None or param.param_type_name != "argument":
        return record  # type: ignore[no-any-return]
    return _bare(record[0].partition(" <")[0]), record[1]


def _bare(metavar: str) -> str:
    """Undo the brackets that Typer puts around a metavar that has its own: [[TRAINER]] → [TRAINER], {FILE} → FILE."""
    bare = metavar.replace("[[", "[").replace("]]", "]").replace("{", "").replace("}", "")
    return bare.replace("......", "...")


def _write_panels(panels: Mapping[str, list[tuple[str, str]]], formatter: Any) -> None:
    for title, records in panels.items():
        with formatter.section(title):
            formatter.write_dl(records)

"""`upm completion`: let the shell complete upm's commands and options."""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import emit, write
from upm_cli.errors import UsageError
from upm_cli.nearest import choices

_SHELLS = {
    "bash": ('eval "$(_UPM_COMPLETE=source_bash upm)"', "~/.bashrc"),
    "zsh": ('eval "$(_UPM_COMPLETE=source_zsh upm)"', "~/.zshrc"),
    "fish": ("_UPM_COMPLETE=source_fish upm | source", "~/.config/fish/config.fish"),
}


def register(app: typer.Typer) -> None:
    group = new_group(help="Let the shell complete commands and options.", no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="completion")


@command
def show(
    ctx: Context, shell: Annotated[str, typer.Argument(metavar="[SHELL]", help="bash, zsh or fish.")] = ""
) -> None:
    """Print the line that switches completion on, to be put into the shell's start-up file.

    Example: upm completion show bash >> ~/.bashrc
    """
    name = shell or ctx.environ.get("SHELL", "").rpartition("/")[2]
    if name not in _SHELLS:
        raise UsageError(f"no completion for shell {name!r}", hint=choices(name, _SHELLS))
    line, file = _SHELLS[name]
    if ctx.output in ("json", "jsonl"):
        emit(ctx, {"shell": name, "line": line, "file": file})
    else:
        write(line + "\n")
        ctx.say.note(f"put it into {file}")

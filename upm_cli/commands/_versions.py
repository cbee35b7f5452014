"""The arguments [TRAINER] [VERSION] of the release verbs: either may be left out."""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.core.records import Ring
from upm_cli.core.versions import is_version_word
from upm_cli.errors import NotFoundError, UsageError

TrainerArg = Annotated[
    str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.", show_default=False)
]
VersionArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]", help="42, v42, latest, active or previous. Default: latest.", show_default=False
    ),
]


def trainer_and_version(
    ctx: Context, first: str | None, second: str | None, default: str = "latest"
) -> tuple[str, str]:
    """Return the trainer and the word for a version that were meant.

    A single argument that can only be a version is one: `upm activate v42`.
    """
    if first is not None and second is None and is_version_word(first):
        try:
            return ctx.trainer_name(first), default
        except NotFoundError:
            first, second = None, first
    return ctx.trainer_name(first), second or default


def parse_ring(text: str | None, option: str) -> Ring | None:
    """Return the ring named `text`. Raises UsageError listing them."""
    if text is None:
        return None
    if text not in list(Ring):
        raise UsageError(f"{option} {text!r} is not a stage", hint=f"one of {', '.join(Ring)}", code="UPM-E029")
    return Ring(text)

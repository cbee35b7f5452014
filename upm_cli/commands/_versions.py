"""The arguments [TRAINER] [VERSION] of the release verbs: either may be left out."""

from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._times import moment_ms
from upm_cli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from upm_cli.core.records import Ring
    from upm_cli.store.session import Store

TrainerArg = Annotated[
    str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.", show_default=False)
]
VersionArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]",
        help="42, v42, latest, active, previous, @2h (active then). Default: latest.",
        show_default=False,
    ),
]


def trainer_and_version(
    ctx: Context, first: str | None, second: str | None, default: str = "latest", ring: "Ring | None" = None
) -> tuple[str, str]:
    """Return the trainer and the word for a version that were meant.

    A single argument that can only be a version is one: `upm activate v42`. A time (`@2h`) is the number of the version
    that was live then, in `ring` if one is given.
    """
    from upm_cli.core.versions import is_version_word

    if first is not None and second is None and is_version_word(first):
        try:
            return ctx.trainer_name(first), default
        except NotFoundError:
            first, second = None, first
    name, word = ctx.trainer_name(first), second or default
    return name, word if not word.startswith("@") else at_time(ctx, ctx.store, name, word, ring)


def trainer_names(ctx: Context, trainer: str | None) -> list[str]:
    """Return the trainers that are meant: the one that was named, or all there are."""
    from upm_cli.store import trainers

    if trainer is not None:
        return [ctx.trainer_name(trainer)]
    with ctx.store.read() as reader:
        return [each.name for each in trainers.list_all(reader)]


def at_time(ctx: Context, store: "Store", name: str, word: str, ring: "Ring | None") -> str:
    """Return the version that `word` (`@2h`, `@2026-11-23T12:00Z`) names: what was live then, as a number."""
    from upm_cli.ops.at import version_at

    at_ms = moment_ms(word.removeprefix("@"), ctx.clock.now_ms(), "the time of VERSION")
    with store.read() as reader:
        return str(version_at(reader, name, at_ms, ring))


def parse_ring(text: str | None, option: str) -> "Ring | None":
    """Return the ring named `text`. Raises UsageError listing them."""
    from upm_cli.core.records import Ring

    if text is None:
        return None
    if text not in list(Ring):
        raise UsageError(f"{option} {text!r} is not a stage", hint=f"one of {', '.join(Ring)}", code="UPM-E029")
    return Ring(text)

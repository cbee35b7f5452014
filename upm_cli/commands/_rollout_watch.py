"""Showing a rollout once, or again and again until it is where it should be."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from upm_cli.commands._context import Context
from upm_cli.commands._output import emit, emit_line
from upm_cli.commands._rollout_tree import marks, next_words, tree
from upm_cli.commands._screen import Screen
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.rollout_status import Standing

LOOK_S = 1.0  # between two looks
LINE = ("at", "trainer", "phase", "stage_name", "percent", "version", "waits_for", "reason")
ENDED = ("promoted", "aborted", "degraded")


def show(ctx: Context, name: str) -> None:
    """Print how the rollout of `name` stands. Raises NotFoundError when it has none."""
    from upm_cli.ops import rollout_status as ops

    shown = ops.as_json(ops.standing(ctx.store, ctx.clock, ctx.settings, name))
    emit(ctx, shown, text=tree(shown, marks()))


def watch_it(ctx: Context, name: str, until: str | None) -> int:
    """Print the rollout of `name` whenever it changed, until it is `until`, or has ended; return the exit code."""
    screen, last = Screen(ctx), None
    for found, shown in _looks(ctx, name):
        line = _line(shown)
        said = {key: value for key, value in line.items() if key not in ("at", "next")}
        if screen.redraws:
            screen.draw(tree(shown, marks()))
        elif said != last:
            emit_line(ctx, line, LINE)
        last = said
        code = _reached(found, until)
        if code is not None:
            return code
    raise AssertionError("looking never ends by itself")


def _looks(ctx: Context, name: str) -> "Iterator[tuple[Standing, dict[str, Any]]]":
    from upm_cli.ops import rollout_status as ops

    while True:
        found = ops.standing(ctx.store, ctx.clock, ctx.settings, name)
        yield found, ops.as_json(found)
        ctx.clock.sleep(LOOK_S)


def _reached(found: "Standing", until: str | None) -> ExitCode | None:
    """Return the exit code if there is nothing more to wait for."""
    phase = found.state.phase.value
    if found.is_bad:
        return ExitCode.BREACH
    if phase == "promoted" or (until == "healthy" and found.is_healthy):
        return ExitCode.DONE
    return None


def _line(shown: Mapping[str, Any]) -> dict[str, Any]:
    candidate = shown["candidate"]
    return {
        "at": shown["updated_at"],
        "trainer": shown["trainer"],
        "phase": shown["phase"],
        "healthy": shown["healthy"],
        "stage": shown["stage"],
        "stage_name": shown["stage_name"],
        "percent": shown["percent"],
        "version": candidate["version"] if candidate is not None and candidate["chosen"] else None,
        "waits_for": shown["next"]["waits_for"],
        "next": None if shown["next"]["what"] is None else next_words(shown["next"]),
        "reason": shown["reason"],
    }

"""`upm snapshot diff`: two versions side by side."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit
from upm_cli.commands._text import visible
from upm_cli.commands._versions import at_time
from upm_cli.errors import UsageError

if TYPE_CHECKING:
    from upm_cli.ops.snapshot_diff import Diff, Field


@command
def diff(
    ctx: Context,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[TRAINER] A [B]", help="Versions: 42, v42, latest, active, previous, @2h. B: latest."),
    ],
) -> None:
    """Compare two versions: what they learned, what was measured, and how far their weights are from each other.

    Every byte of both is proven first.

    Example: upm snapshot diff main active latest
    """
    from upm_cli.ops import snapshot_diff, snapshots

    name, before, after = _meant(ctx, words)
    with ctx.store.read() as reader:
        rows = [snapshots.find(reader, name, word) for word in (before, after)]
    found = snapshot_diff.diff(ctx.store, *rows)
    emit(ctx, _payload(name, found), text="\n".join(map(visible, _lines(found))))


def _meant(ctx: Context, words: list[str]) -> tuple[str, str, str]:
    """Return the trainer and the two words for versions. Raises UsageError."""
    from upm_cli.core.versions import is_version_word

    has_name = not is_version_word(words[0]) or len(words) == 3
    name, versions = ctx.trainer_name(words[0] if has_name else None), words[1 if has_name else 0 :]
    if len(versions) not in (1, 2):
        raise UsageError("two versions are compared", hint=f"upm snapshot diff {name} active latest", code="UPM-E020")
    times = [at_time(ctx, ctx.store, name, word, None) if word.startswith("@") else word for word in versions]
    return name, times[0], times[1] if len(times) == 2 else "latest"


def _payload(name: str, found: "Diff") -> dict[str, Any]:
    weights = found.weights
    return {
        "trainer": name,
        "before": found.before.version,
        "after": found.after.version,
        "windows": found.after.windows - found.before.windows,
        "metrics": [_field(each) for each in found.metrics],
        "manifest": [_field(each) for each in found.manifest],
        "weights": None
        if weights is None
        else {
            "slots_before": weights.slots_before,
            "slots_after": weights.slots_after,
            "changed": weights.changed,
            "l2": weights.l2,
            "l2_before": weights.l2_before,
            "cosine": weights.cosine,
            "top": [
                {"slot": each.slot, "feature": found.names.get(each.slot), "before": each.before, "after": each.after}
                for each in weights.top
            ],
        },
    }


def _field(each: "Field") -> dict[str, Any]:
    return {"name": each.name, "before": each.before, "after": each.after}


def _lines(found: "Diff") -> Iterator[str]:
    before, after, weights = found.before, found.after, found.weights
    yield f"{before.trainer} v{before.version} → v{after.version}   {after.windows - before.windows:+,} windows"
    for each in (*found.metrics, *found.manifest):
        if each.before != each.after:
            yield f"  {each.name:<28} {_value(each.before)} → {_value(each.after)}"
    if weights is None:
        yield f"  {found.note}"
        return
    angle = "" if weights.cosine is None else f", cosine {weights.cosine:.4f}"
    yield f"  {weights.changed:,} of {weights.slots_after:,} weights differ; L2 {weights.l2:.4g}{angle}"
    for change in weights.top:
        name = found.names.get(change.slot, f"slot {change.slot}")
        yield f"    {name:<26} {change.before:+.4f} → {change.after:+.4f}"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)

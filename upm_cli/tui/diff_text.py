"""Two snapshots side by side, as text."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from upm_cli.tui.text import BAD, GOOD, NONE, QUIET, clip, minute, plain, signed, size

if TYPE_CHECKING:
    from upm_cli.ops.snapshot_diff import Diff, Field

_LOWER_IS_BETTER: Final = ("loss", "brier", "log_loss", "error", "mae", "rmse")
_BAR: Final = 14


def diff_text(found: "Diff") -> Text:
    """Return what was measured, what else is said otherwise, and which weights moved most."""
    return Text("\n").join(_lines(found))


def _lines(found: "Diff") -> Iterator[Text]:
    before, after = found.before, found.after
    yield _row("made", minute(before.created_at_ms), minute(after.created_at_ms))
    yield _row("windows", f"{before.windows:,}", f"{after.windows:,}", f"{after.windows - before.windows:+,}")
    yield _row("size", size(before.size_bytes), size(after.size_bytes))
    for each in found.metrics:
        if isinstance(each.before, float) or isinstance(each.after, float):
            yield _measured(each)
    for each in found.manifest:
        yield _row(clip(each.name, 24), _value(each.before), _value(each.after))
    if found.weights is None:
        yield Text(plain(found.note), style=QUIET)
        return
    weights = found.weights
    angle = "" if weights.cosine is None else f" · cosine {weights.cosine:.4f}"
    yield Text("")
    yield Text.assemble(
        ("weights", "bold"),
        f"  {weights.changed:,} of {weights.slots_after:,} differ",
        f" · L2 {weights.l2:.3g} of {weights.l2_before:.3g}{angle}",
    )
    longest = max((abs(each.after - each.before) for each in weights.top), default=1.0)
    for change in weights.top:
        yield _moved(found.names, change.slot, change.before, change.after, longest)


def _row(name: str, before: str, after: str, more: str = "") -> Text:
    return Text.assemble((f"{name:<25}", QUIET), f"{plain(before):>18} → {plain(after):<18}", (more, QUIET))


def _measured(each: "Field") -> Text:
    text = _row(clip(each.name, 24), _value(each.before), _value(each.after))
    if isinstance(each.before, float) and isinstance(each.after, float) and each.before != each.after:
        step = each.after - each.before
        is_loss = any(word in each.name for word in _LOWER_IS_BETTER)
        is_base = each.name.startswith("base_rate")
        style = QUIET if is_base else GOOD if (step < 0) == is_loss else BAD
        text.append(signed(step, 4), style=style)
    return text


def _moved(names: Mapping[int, str], slot: int, before: float, after: float, longest: float) -> Text:
    step = after - before
    length = max(1, round(abs(step) / longest * _BAR))
    bar = "█" * length
    return Text.assemble(
        f"{clip(plain(names.get(slot, f'slot {slot}')), 30):<30} {before:+8.4f} → {after:+8.4f}  ",
        (bar, GOOD if step > 0 else BAD),
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return NONE if value is None else clip(plain(value), 18)

"""Values as the text of cells and lines: a symbol and a word for every state, so that colour is never needed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.ids import iso
from upm_cli.ops import losses
from upm_cli.ops.report_chart import sparkline
from upm_cli.ops.states import SYMBOLS

BAD, WARN, GOOD, QUIET, PAST = "bold red", "yellow", "green", "dim", "magenta"
_STATE_STYLES: Final = {"quarantined": BAD, "errored": BAD, "paused": WARN, "training": GOOD}
NONE: Final = "—"


def plain(text: object) -> str:
    """Return `text` on one line, with what could steer a terminal or hide itself shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def error_text(error: UpmError) -> str:
    """Return what went wrong, and below it what to do next."""
    return "\n".join(plain(line) for line in (error.message, error.hint) if line)


def clip(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, the cut shown."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def right(text: str) -> Text:
    return Text(text, justify="right")


def version(number: int | None) -> str:
    return NONE if number is None else f"v{number:04d}"


def score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign."""
    return NONE if value is None else f"{value:+.{digits}f}"


def size(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least one whole."""
    if count < 1024:
        return f"{count} B"
    for unit in ("KiB", "MiB"):
        count_in = count / 1024
        if count_in < 1024:
            return f"{count_in:.1f} {unit}"
        count = int(count_in)
    return f"{count / 1024:.1f} GiB"


def minute(at_ms: int | None) -> str:
    """Return an instant, to the minute, UTC."""
    return NONE if at_ms is None else iso(at_ms)[:16].replace("T", " ") + "Z"


def clock_time(at_ms: int) -> str:
    """Return the time of day of an instant, UTC."""
    return f"{iso(at_ms)[11:19]}Z"


def age(seconds: float) -> str:
    """Return a length of time in its largest two units: 9s, 3m, 2h13m, 4d2h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, hours, days = whole // 60 % 60, whole // 3600 % 24, whole // 86_400
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m"


def plural(count: int, word: str) -> str:
    """Return a count with its word: 1 worker, 2 workers."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def bars(values: Sequence[float | None], limit: float) -> Text:
    """Return one bar for each value with its colour: red at the limit, yellow near it; a dot where there is none."""
    text = Text()
    for value in values:
        if value is None:
            text.append("·", style=QUIET)
        else:
            style = "red" if value >= limit else WARN if value >= 0.8 * limit else GOOD
            text.append(sparkline([value], limit) or "▁", style=style)
    return text


def short(count: float) -> str:
    """Return a count in at most six characters, as long as it is below a thousand million."""
    if count < 100_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:,.0f}k" if count < 1e6 else f"{count / 1e6:,.1f}M"


def trainer_cells(row: Mapping[str, Any], *, is_narrow: bool, is_past: bool = False) -> dict[str, Text]:
    """Return the cells of one trainer by column; each has a widest, so that no column is cut.

    Of the past nobody knows rates and lags.
    """
    state, drift = row["state"], row["drift"]
    name_width, count = (11, 5) if is_narrow else (20, 12)
    over = drift["p95"] is not None and drift["p95"] >= drift["limit"]
    p95 = Text.assemble(
        (f"{score(drift['p95']):<5} ", BAD if over else ""), bars(drift["recent"][-count:], drift["limit"])
    )
    return {
        "state": Text(f"{SYMBOLS.get(state, '?')} {state}", style=_STATE_STYLES.get(state, "")),
        "name": Text(clip(row["name"], name_width)),
        "mode": Text(row["mode"]),
        "active": _active(row, is_narrow=is_narrow),
        "drift": p95,
        "rate": right(NONE if is_past else short(row["windows_per_s"])),
        "lag": right(NONE if is_past else short(row["lag"])),
        "loss": right(score(row["loss"]["progressive"])),
        "recent": right(score(row["loss"]["recent"])),
        "trained": right(f"{row['windows']['trained']:,}"),
        "newest": Text(version(row["last_version"] or None)),
    }


def _active(row: Mapping[str, Any], *, is_narrow: bool) -> Text:
    """Return what serves, and what a rollout lets some tenants have instead."""
    text = Text(f"{version(row['active'])} {_stage(row['stage'], is_narrow=is_narrow)}".rstrip())
    found = row["stage"].get("rollout")
    if found and found["phase"] in ("progressing", "paused") and found["version"] and found["version"] != row["active"]:
        share = f" → {version(found['version'])} {found['percent']}%"
        return Text.assemble(version(row["active"]) if is_narrow else text, (share, WARN))
    return text


def _stage(stage: Mapping[str, Any], *, is_narrow: bool) -> str:
    """Return where the active version is seen: the ring, or how large the canary is."""
    if stage["kind"] != "canary":
        return stage["kind"] or ""
    return f"{stage['percent']}%" if is_narrow else f"canary {stage['percent']}%"


def snapshot_cells(shot: Snapshot, rings: Iterable[str], proven: bool | None) -> dict[str, Text]:
    """Return the cells of one snapshot by column; `rings` serve it, `proven` says what reading it back showed."""
    return {
        "status": snapshot_status(shot, rings),
        "version": Text(version(shot.version)),
        "windows": right(f"{shot.windows:,}"),
        "size": right(size(shot.size_bytes)),
        "kept": Text("pinned" if shot.pinned else ""),
        "proven": Text({None: "", True: "✓ whole", False: "✗ damaged"}[proven], style=BAD if proven is False else ""),
        "digest": Text(shot.digest[:12], style=QUIET),
        "created": Text(minute(shot.created_at_ms)),
        "parent": Text(version(shot.parent)),
        "loss": right(loss_of(shot.metrics)),
        "recent": right(score(losses.of_metrics(shot.metrics)["recent"])),
        "note": Text(plain(shot.note or "")),
    }


def snapshot_status(shot: Snapshot, rings: Iterable[str]) -> Text:
    """Return the state of a snapshot as symbol and word; the worst that can be said of it."""
    serving = " ".join(rings)
    if shot.quarantined:
        return Text(f"◆ {'bad, live' if serving else 'quarantined'}", style=BAD)
    if serving:
        return Text(f"● live {serving}", style=GOOD)
    words = {"created": "○ created", "activated": "○ activated", "rolled_back": "↶ rolled back"}
    return Text(words.get(shot.status.value, f"○ {shot.status.value}"))


def loss_of(metrics: Mapping[str, Any]) -> str:
    """Return the loss in the metrics of a snapshot, or a dash."""
    return score(losses.of_metrics(metrics)["progressive"])

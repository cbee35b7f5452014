"""What agents served in a drift report: as JSON, in words, and as lines for Markdown and HTML."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape as html_escape
from typing import TYPE_CHECKING, Any

from upm_cli.core.drift import DriftPolicy
from upm_cli.core.drift_record import record
from upm_cli.core.feedback.judging import ServedDrift
from upm_cli.core.feedback.names import served_owner
from upm_cli.core.records import DriftWindow
from upm_cli.ids import iso
from upm_cli.ops import served
from upm_cli.store import activations, anchors, drift

if TYPE_CHECKING:
    from upm_cli.ops.report import Line
    from upm_cli.store.session import Reader, Store


def windows(reader: "Reader", trainer: str) -> list[DriftWindow]:
    """Return the windows of what agents served, oldest first."""
    return drift.list_for(reader, served_owner(trainer))


def again(store: "Store", trainer: str, policy: DriftPolicy) -> list[DriftWindow]:
    """Judge all served comparisons anew, without any effect."""
    state = ServedDrift(policy)
    closed = [window for table in served.follow(store, trainer) for window in state.advance(table)]
    each = [(window, True) for window in closed] + [(window, False) for window in state.open_windows()]
    owner = served_owner(trainer)
    return [
        record(owner, window.judged, policy, version=window.version, before=None, final=is_final, judged_now=True)
        for window, is_final in each
    ]


def serving(reader: "Reader", trainer: str) -> frozenset[int]:
    """Return the versions that some tenant can get now: those of the rings, of the rest, and the anchor."""
    live = activations.live(reader, trainer).values()
    anchor = anchors.find(reader, trainer)
    reaching = {version for move in live if move.percent for version in (move.version, move.rest_version)}
    return frozenset({version for version in reaching if version is not None} | ({anchor.version} if anchor else set()))


def payload(lines: Sequence["Line"], rows: Sequence[Mapping[str, Any]], serves: frozenset[int]) -> dict[str, Any]:
    """Return the JSON object; `rows` are the windows as drift-report shows them, one for each of `lines`."""
    return {
        "serving": sorted(serves),
        "failing": sum(line.level == "fail" for line in lines),
        "windows": [{**row, "serves": line.window.version in serves} for line, row in zip(lines, rows, strict=True)],
    }


def newest(lines: Sequence["Line"]) -> dict[int, "Line"]:
    """Return the newest window of each version that was served, the newest version first."""
    found = {int(line.window.version or 0): line for line in sorted(lines, key=lambda line: line.window.first_seq)}
    return dict(sorted(found.items(), reverse=True))


def words(lines: Sequence["Line"], serves: frozenset[int]) -> Iterator[str]:
    """Say in a line for each version that serves, or failed, what its newest window shows."""
    for version, line in newest(lines).items():
        if version in serves or line.level == "fail":
            w, now = line.window, "" if version in serves else " (serves no more)"
            p95 = f"P95 {w.p95:.3f}, limit {w.threshold:g}, " if w.p95 is not None else ""
            yield f"served v{version}{now}: {line.level} | {p95}{w.n:,} outcomes of {w.metadata['total']:,}"


def influence_words(influence: Mapping[str, Any]) -> str:
    """Say how much of what was learned a model had acted on; nothing where none was asked."""
    if not influence["windows"]:
        return ""
    acted = [each for each in influence["versions"] if each["acted"]]
    versions = ", ".join(f"v{each['version']} {100 * each['share']:.1f} %" for each in acted[-5:])
    share = f"{100 * (influence['share'] or 0.0):.1f} % of the windows learned"
    return f"influence: a served model acted on {share}" + (f" ({versions})" if versions else "")


def markdown(lines: Sequence["Line"], said: Sequence[str], escape: Callable[[str], str]) -> Iterator[str]:
    """Yield the section of what was served."""
    if not said and not lines:
        return
    yield ""
    yield "## Served"
    yield ""
    for each in said:
        yield f"- {escape(each)}"
    if lines:
        yield ""
        yield "| version | window | n | P95 | verdict | status |"
        yield "|---:|---|---:|---:|---|---|"
    for line in lines:
        w = line.window
        p95 = "–" if w.p95 is None else f"{w.p95:.3f}"
        yield f"| v{w.version} | {_at(w)} | {w.n:,} | {p95} | {line.level} | {w.status.value} |"


def html(lines: Sequence["Line"], said: Sequence[str]) -> Iterator[str]:
    """Yield the section of what was served."""
    if not said and not lines:
        return
    yield "<h2>Served</h2>"
    for each in said:
        yield f"<p>{html_escape(each)}</p>"
    if not lines:
        return
    yield '<div class="wide"><table><caption>What agents served, newest first</caption><thead><tr><th>verdict</th>'
    yield '<th class="n">version</th><th>from</th><th class="n">n</th><th class="n">P95</th><th>status</th></tr>'
    yield "</thead><tbody>"
    for line in reversed(lines):
        w = line.window
        p95 = "–" if w.p95 is None else f"{w.p95:.3f}"
        yield (
            f'<tr><td class="{line.level}">{line.level}</td><td class="n">v{w.version}</td><td>{_at(w)}</td>'
            f'<td class="n">{w.n:,}</td><td class="n">{p95}</td><td>{w.status.value}</td></tr>'
        )
    yield "</tbody></table></div>"


def _at(window: DriftWindow) -> str:
    return iso(window.started_at_ms)[:16].replace("T", " ") + "Z"

"""The contests in a drift report: as JSON, in words, and as lines for Markdown and HTML."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from upm_cli.core.records import Evidence
from upm_cli.ids import iso

#: A symbol for each verdict, so that colour is never needed. Unknown is a question, never a tick.
SYMBOLS = {"pass": "✓", "fail": "✗", "unknown": "?"}
_MEASURE = ("verdict", "value", "low", "high", "threshold", "n", "needed")


def payload(rows: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return the contests as JSON objects; see docs/reference/drift.md."""
    return [_contest(row) for row in rows]


def _contest(row: Evidence) -> dict[str, Any]:
    found = row.findings
    return {
        "kind": row.kind,
        "contest_id": row.contest_id,
        "challenger": row.challenger,
        "champion": row.champion,
        "stage": row.stage,
        "verdict": row.verdict,
        "reasons": found["reasons"],
        **{name: found["gate"][name] for name in ("value", "low", "high", "threshold", "needed", "pessimistic")},
        "windows": row.windows,
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "all_windows": found["windows"],
        "harm": _measure(found["harm"]),
        "tail": _measure(found["tail"]),
        "exceedance": found["exceedance"],
        "labels": found["labels"],
        "harmed": found["harmed"],
        "tenants": [tenant_evidence(each) for each in found["tenants"]],
        "doubt_from": found["doubt_from"],
        "barred": found.get("barred", []),
        "retrial": found.get("retrial"),
        "judged_at": iso(row.updated_at_ms),
        "headline": found["headline"],
    }


def _measure(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in _MEASURE}


def tenant_evidence(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a contest says of one tenant; its verdict is fail or unknown."""
    return {name: found[name] for name in ("tenant", "verdict", "n", "mean", "log_e", "log_e_threshold")}


def of_tenant(rows: Sequence[Evidence], tenant: str) -> dict[str, Any]:
    """Return what each contest says of `tenant`, by kind; a contest that lists it not (it is not among the worst)
    is left out.
    """
    return {
        row.kind: {name: value for name, value in tenant_evidence(each).items() if name != "tenant"}
        for row in rows
        for each in row.findings["tenants"]
        if each["tenant"] == tenant
    }


def tenant_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the contests found of one tenant; `found` is what `of_tenant` returned."""
    said = {"fail": "✗ harmed", "unknown": "? no harm shown"}
    return " · ".join(f"{kind} {said[each['verdict']]} {each['mean']:+.3f}" for kind, each in found.items())


def lines(rows: Sequence[Evidence]) -> Iterator[str]:
    """Say what each contest found, one line each."""
    for row in rows:
        harmed = row.findings["harmed"]
        more = f"; harmed: {', '.join(harmed[:5])}" + ("…" if len(harmed) > 5 else "") if harmed else ""
        yield f"{SYMBOLS[row.verdict]} {row.findings['headline']}{more}"


def markdown(rows: Sequence[Evidence], escaped: Callable[[str], str]) -> Iterator[str]:
    """Return the contests as a list."""
    for line in lines(rows):
        yield f"- evidence: {escaped(line)}"


def html(rows: Sequence[Evidence]) -> Iterator[str]:
    """Return the contests as a table."""
    yield '<div class="wide"><table><caption>Evidence</caption><thead><tr><th>verdict</th><th>contest</th>'
    yield '<th class="n">mean excess loss</th><th class="n">from</th><th class="n">to</th><th class="n">allowed</th>'
    yield '<th class="n">windows</th><th class="n">labels</th><th>why</th></tr></thead><tbody>'
    for row in rows:
        gate, share = row.findings["gate"], row.findings["labels"]["share"]
        numbers = "".join(f'<td class="n">{_signed(gate[name])}</td>' for name in ("value", "low", "high"))
        name = row.findings["headline"].partition(":")[0]
        yield (
            f'<tr><td class="{row.verdict}">{SYMBOLS[row.verdict]} {row.verdict}</td><td>{escape(name)}</td>{numbers}'
            f'<td class="n">{gate["threshold"]:.4f}</td><td class="n">{row.windows:,}</td>'
            f'<td class="n">{"–" if share is None else f"{100 * share:.1f} %"}</td>'
            f"<td>{escape('; '.join(row.findings['reasons']))}</td></tr>"
        )
    yield "</tbody></table></div>"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"

"""The table of metrics, the dashboard and the alert rules agree with each other and with the rest of upm."""

import itertools
import re
from importlib import resources
from pathlib import Path
from typing import Any

import grafana_foundation_sdk.cog.plugins as grafana_plugins
import pytest
import typer
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from upm_cli.app import build
from upm_cli.commands._reference import walk
from upm_cli.core.drift import Rule
from upm_cli.core.rollouts.state import Phase
from upm_cli.core.verdict import Verdict
from upm_cli.ops.explain import ALERT, pages
from upm_cli.telemetry.metrics import documents, families
from upm_cli.telemetry.metrics.families import Kind
from upm_cli.telemetry.metrics.panels import Panel
from upm_cli.telemetry.metrics.reference import markdown
from upm_cli.telemetry.metrics.rows_overview import SEED
from upm_cli.telemetry.metrics.rules import ALERTS, RECORDINGS, Alert
from upm_cli.telemetry.metrics.table import FAMILIES, SECTIONS

PANELS = [panel for row in documents.ROWS for panel in row.panels]
RULES = [alert for group in ALERTS.values() for alert in group]
NAME = re.compile(r"\bupm[_:][a-z0-9_:]+")
PARTS = {Kind.SUMMARY: ("_sum", "_count"), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
EXPORTED = {name + part for name, family in FAMILIES.items() for part in PARTS.get(family.kind, ("",))}
KNOWN = EXPORTED | {each.name for each in RECORDINGS}


def test_the_words_in_labels_are_those_of_the_core() -> None:
    assert tuple(Verdict) == families.VERDICTS
    assert tuple(Phase) == families.PHASES
    assert (*Rule, "evidence") == families.REASONS


def test_every_metric_is_named_as_prometheus_asks_for() -> None:
    assert len(FAMILIES) == sum(len(section) for section in SECTIONS.values())
    for family in FAMILIES.values():
        assert re.fullmatch(r"upm_[a-z0-9]+(_[a-z0-9]+)*", family.name)
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER), family.name
        assert family.doc.endswith("."), family.name
        assert not {"tenant", "tenant_id", "window_id", "adapter"} & set(family.labels)


def test_every_query_and_rule_asks_for_metrics_that_there_are() -> None:
    asked = [expr for _, expr in documents.queries()]
    asked += [each.expr for each in (*RULES, *RECORDINGS)] + list(documents.VARIABLES.values())
    for expr in asked:
        assert set(NAME.findall(expr)) <= KNOWN, expr


def test_every_metric_is_on_the_dashboard_or_in_a_rule_or_only_there_to_be_asked_for() -> None:
    asked = " ".join([expr for _, expr in documents.queries()] + [alert.expr for alert in RULES])
    asked += " ".join([each.expr for each in RECORDINGS] + list(documents.VARIABLES.values()))
    unasked = {name for name in EXPORTED if not re.search(rf"\b{name}\b", asked)}
    assert {name.rpartition("_")[0] if name.endswith(("_sum", "_count")) else name for name in unasked} == {
        "upm_drift_window_end_timestamp_seconds",
        "upm_evidence_windows",
        "upm_features_judged_timestamp_seconds",
        "upm_ledger_entries_total",
        "upm_metrics_collect_duration_seconds",
        "upm_rollout_candidate_version",
        "upm_rollouts_total",
        "upm_shadow_seconds",
        "upm_snapshot_freshness_seconds",
        "upm_state_size_bytes",
        "upm_trainer_commit_duration_seconds",
    }


def test_queries_are_narrowed_by_every_variable_of_the_dashboard() -> None:
    for panel, expr in documents.queries():
        for selector in re.findall(r"upm_\w+(\{[^}]*\})?", expr):
            assert 'instance=~"$instance"' in selector, panel
        assert "{AT" not in expr
        assert "{OF" not in expr


def test_the_six_panels_of_the_seed_are_there_in_order() -> None:
    numbered = [panel.title for panel in SEED.panels]
    assert [title[:2] for title in numbered] == ["1 ", "2 ", "3 ", "4 ", "5 ", "6 "]
    assert "freshness" in numbered[0]
    assert "P95" in numbered[1]


def test_panels_lie_side_by_side_without_overlap() -> None:
    board = documents.dashboard()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    for one, two in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert apart_x or apart_y
    assert max(place["x"] + place["w"] for place in places) <= 24


def test_grafana_s_own_types_read_the_dashboard_and_write_it_again() -> None:
    grafana_plugins.register_default_plugins()
    board = documents.dashboard("https://wiki.example/{code}")
    again = _plain(JSONEncoder().default(Dashboard.from_json(board)))
    assert (again["uid"], again["title"]) == (board["uid"], board["title"])
    asked = [[target["expr"] for target in panel.get("targets", [])] for panel in board["panels"]]
    read = [[target["expr"] for target in panel.get("targets", [])] for panel in again["panels"]]
    assert read == asked
    for panel, read_panel in zip(board["panels"], again["panels"], strict=True):
        for key in ("type", "id", "title", "gridPos"):
            assert _subset(panel[key], read_panel[key]), panel["title"]
        if panel["type"] != "row":
            assert _subset(panel["fieldConfig"], read_panel["fieldConfig"]), panel["title"]
            assert _subset(panel["options"], read_panel["options"]), panel["title"]


def _plain(value: Any) -> Any:
    """Return what the SDK made as plain values."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if hasattr(value, "to_json"):
        return _plain(value.to_json())
    return getattr(value, "value", value)


def _subset(one: Any, other: Any) -> bool:
    """Say whether everything in `one` is in `other`."""
    if isinstance(one, dict):
        return isinstance(other, dict) and all(key in other and _subset(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_subset, one, other))
    return bool(one == other)


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {alert.code for alert in RULES} == {code for code in pages() if code.startswith(ALERT)}
    assert {panel.explain for panel in PANELS if panel.explain} <= {alert.code for alert in RULES}
    assert len({alert.name for alert in RULES}) == len(RULES)


@pytest.mark.parametrize("alert", RULES, ids=lambda alert: alert.name)
def test_an_alert_says_what_it_is_and_where_to_read_on(alert: Alert) -> None:
    (rule,) = [
        rule for group in documents.rules("https://x/{code}")["groups"] for rule in group["rules"]
        if rule.get("alert") == alert.name
    ]  # fmt: skip
    assert rule["labels"] == {"severity": alert.severity, "code": alert.code}
    assert alert.severity in ("critical", "warning", "info")
    assert rule["annotations"] == {
        "summary": alert.summary,
        "explain": f"upm explain {alert.code}",
        "runbook_url": f"https://x/{alert.code}",
    }
    assert " on (" not in alert.expr
    assert " on(" not in alert.expr


def _commands() -> set[str]:
    root = build()
    return {path for path, _, _ in walk(root, typer.Context(root, info_name="upm"))}


def test_every_command_that_a_page_or_a_panel_tells_to_type_exists() -> None:
    text = (resources.files("upm_cli") / "assets/explain/alerts.md").read_text()
    known = _commands()
    told = set(re.findall(r"`(upm [a-z-]+(?: [a-z-]+)?)", text))
    told |= {words for panel in PANELS for words in re.findall(r"upm [a-z-]+(?: [a-z-]+)?", panel.about)}
    assert len(told) > 15
    for words in told:
        assert words in known or words.rpartition(" ")[0] in known, words


def test_panels_say_what_to_do_where_there_is_an_alert() -> None:
    shown: dict[str, Any] = {panel["title"]: panel for panel in documents.dashboard("https://x/{code}")["panels"]}
    panel: Panel = SEED.panels[1]
    assert shown[panel.title]["description"].endswith("What to do: upm explain UPM-A001.")
    assert shown[panel.title]["links"][0]["url"] == "https://x/UPM-A001"
    assert documents.dashboard()["panels"][7]["links"] == []


def test_the_reference_page_is_made_from_the_tables() -> None:
    page = Path(__file__).resolve().parents[3] / "docs/reference/metrics.md"
    assert markdown() == page.read_text(), "run .ci/write_reference.py"

"""Dashboard UPM-001 for Grafana and the rules for Prometheus, as documents made from their tables."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from upm_cli.telemetry.metrics.panels import Panel, Row
from upm_cli.telemetry.metrics.rows_learning import JUDGING, STREAM
from upm_cli.telemetry.metrics.rows_overview import GLANCE, SEED
from upm_cli.telemetry.metrics.rows_release import AGENTS, MACHINE, RELEASE
from upm_cli.telemetry.metrics.rules import ALERTS, RECORDINGS, Alert

ROWS: Final = (GLANCE, SEED, STREAM, JUDGING, RELEASE, AGENTS, MACHINE)
UID: Final = "upm-001"
_WIDTH: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: name of a variable → the query that lists its values
VARIABLES: Final = {
    "job": "label_values(upm_build_info, job)",
    "instance": 'label_values(upm_build_info{job=~"$job"}, instance)',
    "trainer": 'label_values(upm_trainer_info{job=~"$job",instance=~"$instance"}, trainer)',
}


def queries() -> Iterator[tuple[str, str]]:
    """Yield (panel, expression) of every query of the dashboard."""
    for row in ROWS:
        for panel in row.panels:
            for query in panel.queries:
                yield f"{row.title}: {panel.title}", query.expr


def dashboard(runbook_url: str = "") -> dict[str, Any]:
    """Return dashboard UPM-001 as Grafana imports it; `runbook_url` has `{code}` where the code of an alert goes."""
    return {
        "uid": UID,
        "title": "UPM-001: continual learning",
        "description": "One model that keeps learning in production. Made by upm metrics dashboard.",
        "tags": ["upm"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *(_variable(name, query) for name, query in VARIABLES.items())]},
        "annotations": {"list": [_rollbacks()]},
        "links": [],
        "panels": list(_panels(ROWS, runbook_url)),
    }


def rules(runbook_url: str = "") -> dict[str, Any]:
    """Return the rule file for Prometheus."""
    recordings = [{"record": each.name, "expr": each.expr} for each in RECORDINGS]
    groups = [{"name": "upm-recordings", "rules": recordings}]
    groups += [{"name": name, "rules": [_alert(each, runbook_url) for each in group]} for name, group in ALERTS.items()]
    return {"groups": groups}


def _alert(alert: Alert, runbook_url: str) -> dict[str, Any]:
    annotations = {"summary": alert.summary, "explain": f"upm explain {alert.code}"}
    if runbook_url:
        annotations["runbook_url"] = runbook_url.replace("{code}", alert.code)
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity, "code": alert.code},
        "annotations": annotations,
    }


def _panels(rows: Sequence[Row], runbook_url: str) -> Iterator[dict[str, Any]]:
    """Lay the panels out from left to right, row by row."""
    number, top = 0, 0
    for row in rows:
        number += 1
        yield _row(row.title, number, top)
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                top, left, height = top + height, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height}, runbook_url)
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
    return {"type": "row", "id": number, "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: dict[str, int], runbook_url: str) -> dict[str, Any]:
    about = f"{panel.about} What to do: upm explain {panel.explain}." if panel.explain else panel.about
    links = []
    if panel.explain and runbook_url:
        url = runbook_url.replace("{code}", panel.explain)
        links = [{"title": f"Runbook {panel.explain}", "url": url, "targetBlank": True}]
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": about,
        "datasource": _SOURCE,
        "gridPos": place,
        "links": links,
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "range": True,
            }
            for n, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"value": None, "color": panel.base}]
    steps += [{"value": value, "color": color} for value, color in panel.limits]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    defaults |= {"min": panel.lowest} if panel.lowest is not None else {}
    defaults |= {"max": panel.highest} if panel.highest is not None else {}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
        shown = {"mode": "line" if panel.limits else "off"}
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "auto", "stacking": stacking, "thresholdsStyle": shown}
        defaults["color"] = {"mode": "palette-classic"}
    else:
        defaults["color"] = {"mode": "thresholds"}
    return defaults


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "state-timeline": {
        "showValue": "never",
        "rowHeight": 0.9,
        "mergeValues": True,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    },
}


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _rollbacks() -> dict[str, Any]:
    """Mark rollbacks in every panel."""
    return {
        "name": "Rollbacks",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": "changes(upm_rollbacks_total[1m]) > 0",
        "titleFormat": "{{trainer}} rolled back ({{by}})",
        "step": "60s",
    }

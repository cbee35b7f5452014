"""docs/reference/config.md, made from the table of settings."""

import json
from dataclasses import fields
from typing import Any

from upm_cli.config.fields import Spec, specs
from upm_cli.config.json_schema import json_schema
from upm_cli.config.schema import SPECS, Settings, TrainerSettings

_TYPES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "names": "list of text",
    "mapping": "name: text",
    "items": "list",
}


def settings_tables() -> str:
    """Return one Markdown table for each section."""
    parts = []
    for one in fields(Settings):
        kind = type(getattr(Settings(), one.name))
        rows = [_row(spec) for path, spec in SPECS.items() if path.startswith(f"{one.name}.")]
        parts.append(_table(f"`{one.name}`", kind.__doc__ or "", rows))
    items = [_row(spec) for spec in specs(TrainerSettings).values()]
    parts.append(_table("Each of `supervisor.default_trainers`", TrainerSettings.__doc__ or "", items))
    return "\n".join(parts)


def _table(title: str, doc: str, rows: list[str]) -> str:
    return "\n".join([f"## {title}", "", doc, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _row(spec: Spec) -> str:
    kind = ", ".join(f"`{choice}`" for choice in spec.choices) or _TYPES[spec.kind]
    bounds = f", {spec.bounds()}" if spec.bounds() else ""
    null = f" Null: {spec.nullable}." if spec.nullable else ""
    return f"| `{spec.key}` | {kind}{bounds} | `{json.dumps(_default(spec))}` | {spec.doc}{null} |"


def _default(spec: Spec) -> Any:
    section, _, key = spec.path.rpartition(".")
    if not section:
        return list(spec.default) if isinstance(spec.default, tuple) else spec.default
    return json_schema()["properties"][section]["properties"][key]["default"]

"""Tables of all settings, for docs/reference/config.md and `upm help config`, made from the settings themselves."""

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
    parts = [section_table(one.name) for one in fields(Settings)]
    items = [_row(spec) for spec in specs(TrainerSettings).values()]
    parts.append(_table("Each of `supervisor.default_trainers`", TrainerSettings.__doc__ or "", items))
    return "\n".join(parts)


def section_table(name: str) -> str:
    """Return the settings of one section as a Markdown table with a heading."""
    rows = [_row(spec) for path, spec in SPECS.items() if path.startswith(f"{name}.")]
    return _table(f"`{name}`", _about(name), rows)


def sections_table() -> str:
    """Return what the sections are for, and how to see what is in them, as Markdown."""
    rows = [f"| `{one.name}` | {_about(one.name)} |" for one in fields(Settings)]
    told = "`upm help config SECTION` lists the settings of one of them."
    return "\n".join(["## Sections", "", told, "", "| section | |", "|---|---|", *rows]) + "\n"


def _about(name: str) -> str:
    return type(getattr(Settings(), name)).__doc__ or ""


def _table(title: str, doc: str, rows: list[str]) -> str:
    return "\n".join([f"## {title}", "", doc, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _row(spec: Spec) -> str:
    kind = ", ".join(f"`{choice}`" for choice in spec.choices) or _TYPES[spec.kind]
    bounds = f", {spec.bounds()}" if spec.bounds() else ""
    null = f" Null: {spec.nullable}." if spec.nullable else ""
    told = f"{spec.doc}{null}".replace("|", "\\|")
    return f"| `{spec.key}` | {kind}{bounds} | `{json.dumps(_default(spec))}` | {told} |"


def _default(spec: Spec) -> Any:
    section, _, key = spec.path.rpartition(".")
    if not section:
        return list(spec.default) if isinstance(spec.default, tuple) else spec.default
    return json_schema()["properties"][section]["properties"][key]["default"]

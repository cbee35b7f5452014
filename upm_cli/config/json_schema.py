"""The settings as a JSON Schema (draft 2020-12), for editors and for checks outside upm."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from upm_cli.config.fields import Spec, specs
from upm_cli.config.schema import Settings

_TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
_NAME = "^[a-z0-9][a-z0-9._-]{0,63}$"


def json_schema() -> dict[str, Any]:
    """Return the schema of upm.yaml."""
    sections = {one.name: _section(type(getattr(Settings(), one.name)), f"{one.name}.") for one in fields(Settings)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "upm.yaml",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": sections,
    }


def _section(kind: type[Any], prefix: str) -> dict[str, Any]:
    properties = {spec.key: _property(spec) for spec in specs(kind, prefix).values()}
    return {
        "description": (kind.__doc__ or "").strip(),
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }


def _property(spec: Spec) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": spec.doc}
    if spec.default is not MISSING:
        schema["default"] = _plain(spec.default)
    if spec.kind == "items" and spec.item is not None:
        item = _section(spec.item, "") | {"type": "object", "required": ["name"]}
        item["properties"]["name"]["pattern"] = _NAME
        return schema | {"type": "array", "items": item}
    if spec.kind == "names":
        return schema | {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
    if spec.kind == "mapping":
        return schema | {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
    schema["type"] = [_TYPES[spec.kind], "null"] if spec.nullable else _TYPES[spec.kind]
    if spec.choices:
        schema["enum"] = list(spec.choices)
    bounds = {
        "minimum": spec.at_least,
        "exclusiveMinimum": spec.above,
        "maximum": spec.at_most,
        "exclusiveMaximum": spec.below,
    }
    return schema | {word: limit for word, limit in bounds.items() if limit is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value

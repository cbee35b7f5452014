"""The JSON that an HTTP agent takes and gives, as JSON Schema."""

from collections.abc import Mapping
from typing import Any, Final

from upm_cli.agent.server.endpoints import COUNT, DIGEST, ID, INSTANT, NAME, TENANT, ref
from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.problems import PROBLEMS

Schema = Mapping[str, Any]
FLOAT32_MAX: Final = 3.4028234663852886e38


def schemas(limits: Limits) -> dict[str, Schema]:
    """Return the schemas by name."""
    signature = _object({"keyid": {"type": "string"}, "sig": _base64()}, extra=False)
    version = {"type": "integer", "minimum": 1}
    number = {"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}
    plain = [number, {"type": "boolean"}, {"type": "null"}]
    label = {
        "anyOf": [
            {"type": "number"},
            {"type": "boolean"},
            {"type": "string", "minLength": 1, "maxLength": 256},
            {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
        ]
    }
    return {
        "Envelope": _object(
            {
                "payloadType": {"const": "application/vnd.upm.pointer+json"},
                "payload": _base64(),
                "signatures": {"type": "array", "items": signature, "maxItems": 16},
            },
            extra=False,
            help="DSSE v1 around a pointer; docs/reference/delivery.md has its fields.",
        ),
        "Ack": _object(
            {
                "schema_version": {"const": 1},
                "agent": NAME,
                "trainer": NAME,
                "tenant": TENANT,
                "version": version,
                "digest": DIGEST,
                "epoch": COUNT,
                "serial": COUNT,
                "loaded_at": INSTANT,
            },
            help="What is served to one tenant of one trainer.",
        ),
        "Status": _object({"agent": NAME, "serving": {"type": "array", "items": ref("Ack")}}),
        "Model": _object(
            {
                "digest": DIGEST,
                "codec": {"enum": ["zstd", "gzip", "none"]},
                "size_bytes": {"type": "integer", "minimum": 1},
            }
        ),
        "Windows": _object(
            {
                "trainer": {**NAME, "type": ["string", "null"], "description": "Left out: the only one there is."},
                "tenant": {**TENANT, "type": ["string", "null"]},
                "windows": {"type": "array", "items": ref("Window"), "minItems": 1, "maxItems": limits.windows},
            },
            required=("windows",),
            extra=False,
        ),
        "Window": _object(
            {
                "features": ref("Features"),
                "window_id": {**ID, "description": "For the log. Left out, it is the prediction's own."},
            },
            required=("features",),
            extra=False,
        ),
        "Features": {
            "type": "object",
            "description": "By name; docs/reference/windows.md has the rules.",
            "additionalProperties": {
                "anyOf": [
                    *plain,
                    {"type": "string"},
                    {"type": "array", "items": {"anyOf": plain}},
                    {"type": "array", "items": {"type": "string"}},
                    ref("Features"),
                ]
            },
        },
        "Predictions": _object({"predictions": {"type": "array", "items": ref("Prediction")}}),
        "Prediction": _object(
            {
                "prediction_id": ID,
                "window_id": ID,
                "version": version,
                "epoch": COUNT,
                "prediction": {**label, "description": "As the labels are written."},
                "probability": {"type": "number", "description": "Of 1, or of the class predicted."},
                "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
            },
            required=("prediction_id", "window_id", "version", "epoch", "prediction"),
        ),
        "Outcome": _object(
            {
                "prediction_id": ID,
                "label": {**label, "description": "What was right: a label as the trainer learns them."},
                "acted": {
                    "type": "boolean",
                    "default": True,
                    "description": "Whether the prediction had an influence on what happened.",
                },
            },
            required=("prediction_id", "label"),
            extra=False,
        ),
        "Outcomes": _object(
            {"outcomes": {"type": "array", "items": ref("Outcome"), "minItems": 1, "maxItems": limits.windows}},
            extra=False,
        ),
        "Taken": _object({"taken": COUNT}),
        "Alive": _object({"status": {"const": "ok"}, "agent": NAME}),
        "Readiness": _object(
            {
                "status": {"enum": ["ok", "stale", "nothing is served yet"]},
                "serving": COUNT,
                "stale": COUNT,
                "failing": COUNT,
            }
        ),
        "Problem": _object(
            {
                "type": {"type": "string", "format": "uri"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": {"enum": list(PROBLEMS)},
                "request_id": {"type": "string"},
                "upm_code": {"type": "string", "description": "What `upm explain` has a page on."},
                "hint": {"type": "string"},
                "serving": {
                    "description": "What is served, where a pointer was not taken.",
                    "type": ["object", "null"],
                },
            },
            required=("type", "title", "status", "detail", "code", "request_id"),
            help="RFC 9457.",
        ),
    }


def _object(
    properties: Schema, *, required: tuple[str, ...] | None = None, extra: bool = True, help: str = ""
) -> dict[str, Any]:
    """Return the schema of an object; `required` None: all of its properties."""
    made: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
    if not extra:
        made["additionalProperties"] = False
    if help:
        made["description"] = help
    return made


def _base64() -> Schema:
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==|[A-Za-z0-9+/]=))?$",
    }

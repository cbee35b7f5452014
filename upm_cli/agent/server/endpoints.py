"""The interface of an HTTP agent as a table: the OpenAPI document and the reference page are made from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.agent.server.feedback import DEFAULT_LIMIT, MOST_LINES
from upm_cli.agent.server.options import Limits

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
COUNT: Final = {"type": "integer", "minimum": 0}
INSTANT: Final = {"type": "string", "format": "date-time"}
NAME: Final = {"type": "string", "pattern": r"^[a-z0-9](\.?[a-z0-9_-])*\.?$", "maxLength": 64}
TENANT: Final = {"type": "string", "maxLength": 256, "default": "", "description": "Empty: windows without a tenant."}
POSITION: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1}
ID: Final = {"type": "string", "minLength": 1, "maxLength": 256}


def ref(name: str) -> dict[str, str]:
    """Return the reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of the path, the query or the headers."""

    name: str
    place: str  # path | query | header
    schema: Mapping[str, Any]
    help: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """One answer that is no problem."""

    help: str
    media_type: str = JSON
    schema: Mapping[str, Any] | None = None
    headers: Mapping[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)  # (schema, help)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path. `problems` are those beyond what any request may get."""

    method: str
    path: str
    name: str
    summary: str
    help: str
    answers: Mapping[int, Good]
    problems: Sequence[str] = ()
    parameters: Sequence[Parameter] = ()
    body: tuple[str, Mapping[str, Any]] | None = None  # media type, schema
    is_open: bool = False  # needs no token


ETAG: Final = {"ETag": ({"type": "string"}, "Changes when the content does.")}
_IF_NONE_MATCH: Final = Parameter(
    name="If-None-Match", place="header", schema={"type": "string"}, help="An ETag: answered with 304 if it still is."
)
_TENANT_QUERY: Final = Parameter(name="tenant", place="query", schema=TENANT, help="For whom.")
_TRAINER: Final = Parameter(name="trainer", place="path", schema=NAME, help="Which trainer's.", required=True)
_MODEL: Final = Parameter(
    name="digest", place="path", schema=DIGEST, help="sha256 of the model's canonical bytes.", required=True
)
_OF_BODIES: Final = ("too-slow", "too-large", "unsupported-media-type")


def endpoints(limits: Limits) -> tuple[Endpoint, ...]:
    """Return the table."""
    return (*_models(limits), *_pointers(), *_predictions(limits), *_watching())


def _models(limits: Limits) -> tuple[Endpoint, ...]:
    codec = {"type": "string", "enum": ["zstd", "gzip", "none"]}
    return (
        Endpoint(
            method="PUT",
            path="/models/{digest}",
            name="putModel",
            summary="Send a model",
            help="The stored bytes of a snapshot, kept once they have both digests. Again changes nothing.",
            parameters=(
                _MODEL,
                Parameter(
                    name="Upm-Codec", place="header", schema=codec, help="How the bytes are packed.", required=True
                ),
                Parameter(
                    name="Upm-Raw-Bytes",
                    place="header",
                    schema={"type": "integer", "minimum": 1, "maximum": limits.model_bytes},
                    help="How many bytes they unpack to.",
                    required=True,
                ),
                Parameter(
                    name="Upm-File-Digest",
                    place="header",
                    schema=DIGEST,
                    help="sha256 of the bytes as they are sent.",
                    required=True,
                ),
            ),
            body=(BYTES, {"type": "string", "format": "binary", "minLength": 1}),
            answers={
                200: Good(help="It was there.", schema=ref("Model")),
                201: Good(help="It is there now.", schema=ref("Model")),
            },
            problems=(*_OF_BODIES, "pulls", "length-required", "refused", "busy", "disk-full"),
        ),
        Endpoint(
            method="GET",
            path="/models/{digest}",
            name="getModel",
            summary="Fetch a model",
            help="The stored bytes, or one range of them.",
            parameters=(
                _MODEL,
                Parameter(name="Range", place="header", schema={"type": "string"}, help="bytes=FIRST-LAST, one range."),
                _IF_NONE_MATCH,
            ),
            answers={
                200: Good(
                    help="All of it.", media_type=BYTES, headers={**ETAG, "Upm-Codec": (codec, "How they are packed.")}
                ),
                206: Good(
                    help="The range.",
                    media_type=BYTES,
                    headers={**ETAG, "Content-Range": ({"type": "string"}, "Which part it is.")},
                ),
                304: Good(help="The client has it.", headers=ETAG),
            },
            problems=("not-found", "range"),
        ),
    )


def _pointers() -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            method="PUT",
            path="/pointers/{trainer}",
            name="putPointer",
            summary="Say what is to be served",
            help=(
                "A pointer in its envelope. It is proven, its model loaded and swapped in, and only then answered. "
                "The same again is answered the same."
            ),
            parameters=(_TRAINER, _TENANT_QUERY),
            body=(JSON, ref("Envelope")),
            answers={200: Good(help="What is served now.", schema=ref("Ack"))},
            problems=(*_OF_BODIES, "need-model", "older", "pulls", "refused", "busy", "disk-full"),
        ),
        Endpoint(
            method="GET",
            path="/pointers/{trainer}",
            name="getPointer",
            summary="Fetch the pointer that is served",
            help="The envelope as it came, signatures and all.",
            parameters=(_TRAINER, _TENANT_QUERY, _IF_NONE_MATCH),
            answers={
                200: Good(help="The envelope.", schema=ref("Envelope"), headers=ETAG),
                304: Good(help="The client has it.", headers=ETAG),
            },
            problems=("nothing-served",),
        ),
        Endpoint(
            method="GET",
            path="/status",
            name="getStatus",
            summary="Say what is served",
            help="To everybody, or to the trainer and tenant that are named.",
            parameters=(
                Parameter(name="trainer", place="query", schema=NAME, help="Only this trainer's."),
                Parameter(name="tenant", place="query", schema=TENANT, help="Only to this tenant."),
            ),
            answers={200: Good(help="An ack for each tenant.", schema=ref("Status"))},
        ),
    )


def _predictions(limits: Limits) -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            method="POST",
            path="/predict",
            name="predict",
            summary="Predict windows",
            help=f"At most {limits.windows:,}, all with one model, in their order; answered as `upm predict` does.",
            body=(JSON, ref("Windows")),
            answers={200: Good(help="A prediction for each window.", schema=ref("Predictions"))},
            problems=(*_OF_BODIES, "nothing-served", "unfit", "not-ready", "busy"),
        ),
        Endpoint(
            method="POST",
            path="/outcome",
            name="tellOutcome",
            summary="Tell what came of predictions",
            help="One or a list. They go to the prediction log, with their predictions while these are remembered.",
            body=(JSON, {"oneOf": [ref("Outcome"), ref("Outcomes")]}),
            answers={202: Good(help="They were taken down.", schema=ref("Taken"))},
            problems=(*_OF_BODIES, "unfit", "not-ready"),
        ),
        Endpoint(
            method="GET",
            path="/feedback",
            name="getFeedback",
            summary="Read the prediction log",
            help="Whole lines from a position on, oldest first. Ask again with what Upm-Next says.",
            parameters=(
                Parameter(
                    name="after", place="query", schema={**POSITION, "default": 0}, help="Upm-Next of last time."
                ),
                Parameter(
                    name="limit",
                    place="query",
                    schema={"type": "integer", "minimum": 1, "maximum": MOST_LINES, "default": DEFAULT_LIMIT},
                    help="Lines at most.",
                ),
            ),
            answers={
                200: Good(
                    help="JSON lines: predictions and outcomes. Empty when there is nothing new.",
                    media_type="application/x-ndjson",
                    headers={"Upm-Next": (POSITION, "The position behind the last line.")},
                )
            },
        ),
    )


def _watching() -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            method="GET",
            path="/healthz",
            name="getHealth",
            summary="Is it alive?",
            help="Answered as long as the process can.",
            answers={200: Good(help="It is.", schema=ref("Alive"))},
            is_open=True,
        ),
        Endpoint(
            method="GET",
            path="/readyz",
            name="getReadiness",
            summary="Can it predict?",
            help="`stale` says that what is served has not been renewed for too long; it is served all the same.",
            answers={
                200: Good(help="It can.", schema=ref("Readiness")),
                503: Good(help="Nothing is served yet.", schema=ref("Readiness")),
            },
            is_open=True,
        ),
        Endpoint(
            method="GET",
            path="/metrics",
            name="getMetrics",
            summary="Metrics for Prometheus",
            help="Text format 0.0.4.",
            answers={200: Good(help="The metrics.", media_type="text/plain")},
        ),
        Endpoint(
            method="GET",
            path="/openapi.json",
            name="getOpenapi",
            summary="This description",
            help="OpenAPI 3.1.",
            answers={200: Good(help="The document.", schema={"type": "object"})},
        ),
    )

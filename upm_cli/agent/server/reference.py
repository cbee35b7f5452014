"""docs/reference/agent-http.md, made from the table of endpoints; `.ci/write_reference.py` writes it."""

from collections.abc import Iterator

from upm_cli.agent.server.endpoints import Endpoint, endpoints
from upm_cli.agent.server.openapi import ALWAYS, problems_of
from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.problems import PROBLEMS
from upm_cli.agent.server.schemas import schemas

_HEAD = """# The interface of an HTTP agent

Made from the program by `.ci/write_reference.py`. `GET /openapi.json` has the same as an OpenAPI 3.1 document, with
every schema. How to run one is in [HTTP agents](../howto/http-agents.md).

Everything is JSON in UTF-8 unless something else is said. Objects may have no field twice; unknown fields and
parameters are refused. With a token (`Authorization: Bearer …`) everything needs it but `/healthz` and `/readyz`.
Every answer has an `X-Request-Id`: the client's own, if it gave one.

An agent may be written in any language: adapter sync needs `PUT /pointers`, `PUT /models` and `GET /status` of it, as
described here.
"""


def page() -> str:
    """Return the page."""
    limits = Limits()
    found = endpoints(limits)
    parts = [_HEAD, "\n".join(["| method | path | for |", "|---|---|---|", *(_row(each) for each in found)])]
    parts += ["\n".join(_section(endpoint)) for endpoint in found]
    parts.append("\n".join(_objects(limits)))
    parts.append("\n".join(_problems()))
    parts.append("\n".join(_limits(limits)))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(endpoint: Endpoint) -> str:
    return f"| {endpoint.method} | `{endpoint.path}` | {endpoint.summary} |"


def _section(endpoint: Endpoint) -> Iterator[str]:
    yield f"## {endpoint.method} {endpoint.path}"
    yield ""
    yield f"{endpoint.summary}{'' if endpoint.summary.endswith('?') else '.'} {endpoint.help}"
    if endpoint.parameters:
        yield ""
        yield "| parameter | in | |"
        yield "|---|---|---|"
        for each in endpoint.parameters:
            yield f"| `{each.name}`{'' if each.required else ' (optional)'} | {each.place} | {each.help} |"
    if endpoint.body is not None:
        yield ""
        yield f"Body: {_named(endpoint.body[1])}, `{endpoint.body[0]}`."
    yield ""
    yield "| status | answer |"
    yield "|---|---|"
    for status, good in endpoint.answers.items():
        headers = "".join(f" Header `{name}`: {help}" for name, (_, help) in good.headers.items())
        what = f" {_named(good.schema)}." if good.schema is not None and "$ref" in good.schema else ""
        yield f"| {status} | {good.help}{what}{headers} |"
    for code in problems_of(endpoint):
        if code not in (*ALWAYS, "unauthorized"):
            yield f"| {PROBLEMS[code][0]} | problem `{code}` |"


def _named(schema: object) -> str:
    """Return which schemas a schema refers to."""
    found = schema if isinstance(schema, dict) else {}
    if "oneOf" in found:
        return " or ".join(_named(each) for each in found["oneOf"])
    name = str(found.get("$ref", "")).rpartition("/")[2]
    return f"[{name}](#objects)" if name else "bytes"


def _objects(limits: Limits) -> Iterator[str]:
    yield "## Objects"
    yield ""
    yield "| object | fields (optional ones in brackets) |"
    yield "|---|---|"
    for name, schema in schemas(limits).items():
        fields = schema.get("properties", {})
        required = schema.get("required", ())
        told = ", ".join(f"`{field}`" if field in required else f"[`{field}`]" for field in fields)
        yield f"| {name} | {told or schema.get('description', '')} |"


def _problems() -> Iterator[str]:
    yield "## Problems"
    yield ""
    yield "Whatever can't be done is answered with a problem object (RFC 9457, `application/problem+json`)."
    yield "Its `code` is stable; `detail` is for people."
    yield (
        "Any request may be answered with "
        + ", ".join(f"`{code}`" for code in ALWAYS)
        + ", and with `unauthorized` where there is a token."
    )
    yield ""
    yield "| code | status | |"
    yield "|---|---|---|"
    for code, (status, title) in PROBLEMS.items():
        yield f"| `{code}` | {status} | {title} |"


def _limits(limits: Limits) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "| what | as started without options |"
    yield "|---|---|"
    yield f"| a body of JSON | {limits.json_bytes:,} bytes, within {limits.body_s:g} s |"
    yield (
        f"| a model, stored and unpacked | {limits.model_bytes:,} bytes (--max-model-bytes), "
        f"within {limits.model_s:g} s and a second more for each {limits.slowest_bytes:,} bytes; "
        f"{limits.uploads} at a time |"
    )
    yield f"| the head of a request | {limits.head_bytes:,} bytes, within {limits.head_s:g} s |"
    yield f"| windows, and outcomes, of one request | {limits.windows:,} |"
    yield (
        f"| connections | {limits.connections} (--max-connections); when there are more, the one that has waited "
        "longest without a whole request is closed |"
    )
    yield f"| requests of one client | {limits.requests_per_s:,.0f} a second (--max-rate), twice as many at once |"
    yield f"| a client that takes none of its answer | cut off after {limits.stall_s:g} s |"
    yield f"| a connection without requests | closed after {limits.keep_alive_s} s |"

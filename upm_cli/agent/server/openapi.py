"""The OpenAPI document of an HTTP agent, made from the table of its endpoints."""

from typing import Any, Final

from upm_cli import __version__
from upm_cli.agent.server.endpoints import Endpoint, Good, Parameter, endpoints, ref
from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.problems import MEDIA_TYPE, PROBLEMS
from upm_cli.agent.server.schemas import schemas

#: What any request may be answered with.
ALWAYS: Final = ("bad-request", "cross-origin", "wrong-host", "too-many", "internal")


def document(limits: Limits, *, has_token: bool) -> dict[str, Any]:
    """Return the document; `has_token`: whether requests need one."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints(limits):
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, has_token=has_token)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "upm agent",
            "version": __version__,
            "description": "Serves models that upm sends, and learns what came of predictions.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(limits),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def problems_of(endpoint: Endpoint, *, has_token: bool = True) -> list[str]:
    """Return the codes of all problems that an endpoint may answer with."""
    guarded = () if endpoint.is_open or not has_token else ("unauthorized",)
    return sorted({*endpoint.problems, *ALWAYS, *guarded}, key=lambda code: (PROBLEMS[code][0], code))


def _operation(endpoint: Endpoint, *, has_token: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": endpoint.help,
        "responses": {str(status): _good(good) for status, good in endpoint.answers.items()},
    }
    if endpoint.parameters:
        made["parameters"] = [_parameter(each) for each in endpoint.parameters]
    if endpoint.body is not None:
        made["requestBody"] = {"required": True, "content": {endpoint.body[0]: {"schema": endpoint.body[1]}}}
    if has_token and not endpoint.is_open:
        made["security"] = [{"token": []}]
    by_status: dict[int, list[str]] = {}
    for code in problems_of(endpoint, has_token=has_token):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status, codes in by_status.items():
        _add_problems(made["responses"], status, codes)
    return made


def _add_problems(responses: dict[str, Any], status: int, codes: list[str]) -> None:
    told = {"description": "; ".join(f"{code}: {PROBLEMS[code][1]}" for code in codes)}
    found = responses.setdefault(str(status), told)
    found.setdefault("content", {})[MEDIA_TYPE] = {"schema": ref("Problem")}


def _good(good: Good) -> dict[str, Any]:
    made: dict[str, Any] = {"description": good.help}
    if good.schema is not None:
        made["content"] = {good.media_type: {"schema": good.schema}}
    elif good.media_type != "application/json":
        made["content"] = {good.media_type: {}}
    if good.headers:
        made["headers"] = {
            name: {"description": help, "schema": schema} for name, (schema, help) in good.headers.items()
        }
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.help,
        "schema": parameter.schema,
    }

"""POST of /predict and /outcome."""

import asyncio
import time
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from upm_cli.agent import Agent, Prediction
from upm_cli.agent.server.body import only_fields, only_query, read_object
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.meter import Meter
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.problems import ProblemError
from upm_cli.agent.server.replies import JsonReply

_AT_ONCE: Final = 32  # so many windows are predicted without going to another thread
_NO: Final = object()


class Predicting:
    """The handlers of predictions and of what came of them."""

    def __init__(self, fleet: Fleet, options: ServeOptions, meter: Meter) -> None:
        self._fleet, self._options, self._meter = fleet, options, meter

    async def predict(self, request: Request) -> Response:
        """Predict windows, all with one model."""
        only_query(request)
        body = await read_object(request, self._options.limits)
        only_fields(body, ("trainer", "tenant", "windows"), "the body")
        features, ids = _windows(body.get("windows"), self._options.limits.windows)
        trainer, tenant = _name(body, "trainer"), _name(body, "tenant")
        agent = self._fleet.agent(trainer, tenant or "")
        began_s = time.perf_counter()
        if len(features) <= _AT_ONCE:
            found = _predicted(agent, features, ids)
        else:
            found = await self._elsewhere(agent, features, ids)
        self._meter.predicting.add(time.perf_counter() - began_s)
        key = (agent.trainer, tenant or "")
        self._meter.predictions[key] += len(found)
        self._fleet.remember(key, found)
        return JsonReply({"predictions": [each.to_json() for each in found]})

    async def _elsewhere(self, agent: Agent, features: list[Any], ids: list[str | None]) -> list[Prediction]:
        """Predict in another thread, so that others are answered meanwhile."""
        try:
            async with asyncio.timeout(self._options.limits.predict_s):
                return await anyio.to_thread.run_sync(_predicted, agent, features, ids, abandon_on_cancel=True)
        except TimeoutError as exc:
            raise ProblemError("busy", "predicting took too long", headers={"Retry-After": "1"}) from exc

    async def outcome(self, request: Request) -> Response:
        """Take down what came of predictions."""
        only_query(request)
        body = await read_object(request, self._options.limits)
        outcomes = _outcomes(body, self._options.limits.windows)
        for number, (prediction_id, label, acted) in enumerate(outcomes):
            try:
                self._fleet.report(prediction_id, label, acted=acted)
            except ProblemError as exc:
                exc.more["taken"] = number
                raise
        self._meter.outcomes += len(outcomes)
        return JsonReply({"taken": len(outcomes)}, 202)


def _predicted(agent: Agent, features: list[Any], ids: list[str | None]) -> list[Prediction]:
    if len(features) == 1:
        return [agent.predict(features[0], window_id=ids[0])]
    return agent.predict_many(features, window_ids=ids)


def _name(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise ProblemError("unfit", f"{field} is text, or left out")
    return value


def _windows(found: Any, most: int) -> tuple[list[Any], list[str | None]]:
    """Return the features and the ids of the windows. Raises ProblemError."""
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise ProblemError("unfit", f"windows is a list of 1 to {most:,} objects with features")
    for number, window in enumerate(found):
        if not isinstance(window, dict) or not isinstance(window.get("features"), dict):
            raise ProblemError("unfit", f"window {number} has no features")
        only_fields(window, ("features", "window_id"), f"window {number}")
        if not isinstance(window.get("window_id", ""), str):
            raise ProblemError("unfit", f"the window_id of window {number} is no text")
    return [window["features"] for window in found], [window.get("window_id") for window in found]


def _outcomes(body: dict[str, Any], most: int) -> list[tuple[str, Any, bool]]:
    """Return (prediction_id, label, acted) of one outcome, or of several. Raises ProblemError."""
    if "outcomes" in body:
        only_fields(body, ("outcomes",), "the body")
        found = body["outcomes"]
    else:
        found = [body]
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise ProblemError("unfit", f"outcomes is a list of 1 to {most:,} objects")
    return [_outcome(each, number) for number, each in enumerate(found)]


def _outcome(found: Any, number: int) -> tuple[str, Any, bool]:
    what = f"outcome {number}"
    if not isinstance(found, dict):
        raise ProblemError("unfit", f"{what} is no object")
    only_fields(found, ("prediction_id", "label", "acted"), what)
    prediction_id, label, acted = found.get("prediction_id"), found.get("label", _NO), found.get("acted", True)
    if not isinstance(prediction_id, str) or label is _NO or not isinstance(acted, bool):
        raise ProblemError("unfit", f"{what} needs a prediction_id and a label; acted is true or false")
    return prediction_id, label, acted

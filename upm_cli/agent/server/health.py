"""GET of /healthz, /readyz, /metrics and /openapi.json."""

from collections.abc import Callable, Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response

from upm_cli import __version__
from upm_cli.agent.server.body import only_query
from upm_cli.agent.server.fleet import Fleet, Key
from upm_cli.agent.server.meter import Family, Labels, Meter, exposition, histogram, single
from upm_cli.agent.server.openapi import document
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.replies import JsonReply
from upm_cli.agent.values import Health
from upm_cli.clock import Clock

Told = Mapping[Key, Health]


class Watching:
    """The handlers for probes, for Prometheus, and for whoever wants to know the interface."""

    def __init__(self, fleet: Fleet, options: ServeOptions, meter: Meter, clock: Clock) -> None:
        self._fleet, self._options, self._meter, self._clock = fleet, options, meter, clock

    async def alive(self, request: Request) -> Response:
        """Say that the process answers."""
        return JsonReply({"status": "ok", "agent": self._fleet.name})

    async def ready(self, request: Request) -> Response:
        """Say whether something is served; and how much of it has not been heard of for too long."""
        healths = list(self._fleet.health().values())
        serving = [health.serving for health in healths if health.serving is not None]
        stale = sum(each.is_stale for each in serving)
        failing = sum(health.last_error is not None or health.state_error is not None for health in healths)
        status = "stale" if stale else "ok" if serving else "nothing is served yet"
        told = {"status": status, "serving": len(serving), "stale": stale, "failing": failing}
        return JsonReply(told, 200 if serving else 503)

    async def metrics(self, request: Request) -> Response:
        """Tell Prometheus."""
        only_query(request)
        text = exposition(self._families())
        return Response(text, 200, None, "text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """Send the description of the interface."""
        only_query(request)
        return JsonReply(document(self._options.limits, has_token=self._options.token_file is not None))

    def _families(self) -> Iterator[Family]:
        meter, healths = self._meter, self._fleet.health()
        yield Family(
            "upm_agent_info", "gauge", "Always 1.", [("", {"agent": self._fleet.name, "version": __version__}, 1)]
        )
        yield from _of_requests(meter)
        yield from _of_models(healths)
        log = self._fleet.log
        yield single("upm_agent_log_lines_total", "counter", "Lines written to the prediction log.", log.written)
        yield single("upm_agent_log_dropped_total", "counter", "Lines that the log had no room for.", log.dropped)
        yield single(
            "upm_agent_log_failing", "gauge", "1 while the log can't be written.", float(log.problem is not None)
        )


def _of_requests(meter: Meter) -> Iterator[Family]:
    yield Family(
        "upm_agent_requests_total",
        "counter",
        "Requests by method, path and status; 499: the client left before it was answered.",
        [
            ("", {"method": method, "path": path, "status": str(status)}, count)
            for (method, path, status), count in sorted(meter.requests.items())
        ],
    )
    yield histogram(
        "upm_agent_request_seconds", "Time from a request's head to the end of its answer.", meter.answering
    )
    yield Family(
        "upm_agent_errors_total",
        "counter",
        "Answers that were problems, by code.",
        [("", {"code": code}, count) for code, count in sorted(meter.problems.items())],
    )
    yield Family(
        "upm_agent_predictions_total",
        "counter",
        "Windows predicted.",
        [("", _labels(key), count) for key, count in sorted(meter.predictions.items())],
    )
    yield histogram("upm_agent_prediction_seconds", "Time to predict the windows of one request.", meter.predicting)
    yield Family(
        "upm_agent_pointers_total",
        "counter",
        "Pointers that came, by what became of them.",
        [("", {"result": result}, count) for result, count in sorted(meter.pointers.items())],
    )
    yield single("upm_agent_models_total", "counter", "Models that came in.", meter.models)
    yield single("upm_agent_model_bytes_total", "counter", "Stored bytes of models that came in.", meter.model_bytes)
    yield single("upm_agent_outcomes_total", "counter", "Outcomes that were told.", meter.outcomes)


def _of_models(healths: Told) -> Iterator[Family]:
    serving = {key: health.serving for key, health in healths.items() if health.serving is not None}

    def family(name: str, help: str, value: Callable[[Key], float]) -> Family:
        return Family(name, "gauge", help, [("", _labels(key), value(key)) for key in serving])

    yield family("upm_agent_serving_version", "Version that is served.", lambda key: serving[key].version)
    yield family("upm_agent_serving_epoch", "Epoch of the pointer that is served.", lambda key: serving[key].epoch)
    yield family("upm_agent_serving_serial", "Serial of the pointer that is served.", lambda key: serving[key].serial)
    yield family(
        "upm_agent_loaded_timestamp_seconds",
        "When the model that is served was swapped in.",
        lambda key: serving[key].loaded_at_ms / 1000,
    )
    yield family("upm_agent_stale", "1 when nothing newer was heard for too long.", lambda key: serving[key].is_stale)
    expiring = {key: each.expires_at_ms for key, each in serving.items() if each.expires_at_ms is not None}
    yield Family(
        "upm_agent_expires_timestamp_seconds",
        "gauge",
        "When what is served becomes stale.",
        [("", _labels(key), at_ms / 1000) for key, at_ms in expiring.items()],
    )
    yield Family(
        "upm_agent_swaps_total",
        "counter",
        "Models swapped in since the agent was opened.",
        [("", _labels(key), health.swaps) for key, health in healths.items()],
    )
    yield Family(
        "upm_agent_failing",
        "gauge",
        "1 while looking for something new, or keeping it, fails.",
        [
            ("", _labels(key), float(health.last_error is not None or health.state_error is not None))
            for key, health in healths.items()
        ],
    )


def _labels(key: Key) -> Labels:
    return {"trainer": key[0], "tenant": key[1]}

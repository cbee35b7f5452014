"""The ASGI application of an HTTP agent: its routes behind the front."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from upm_cli.agent.server.feedback import Feedback
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.front import Front
from upm_cli.agent.server.health import Watching
from upm_cli.agent.server.meter import Meter
from upm_cli.agent.server.models import Models
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.pointers import Pointers
from upm_cli.agent.server.predicting import Predicting
from upm_cli.clock import Clock

Handler = Callable[[Request], Awaitable[Response]]


def _both(get: Handler, put: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        return await (put if request.method == "PUT" else get)(request)

    return handle


def make_app(fleet: Fleet, options: ServeOptions, clock: Clock, report: Callable[[BaseException], None]) -> ASGIApp:
    """Return the application. `report` is told of what nobody expected. At its shutdown the fleet ends."""
    meter = Meter()
    models, pointers = Models(fleet, options, meter), Pointers(fleet, options, meter)
    predicting, watching = Predicting(fleet, options, meter), Watching(fleet, options, meter, clock)
    routes = [
        Route("/models/{digest}", _both(models.get, models.put), methods=["GET", "PUT"]),
        Route("/pointers/{trainer}", _both(pointers.get, pointers.put), methods=["GET", "PUT"]),
        Route("/status", pointers.status),
        Route("/predict", predicting.predict, methods=["POST"]),
        Route("/outcome", predicting.outcome, methods=["POST"]),
        Route("/feedback", Feedback(fleet).get),
        Route("/healthz", watching.alive),
        Route("/readyz", watching.ready),
        Route("/metrics", watching.metrics),
        Route("/openapi.json", watching.openapi),
    ]
    paths = {route.endpoint: route.path for route in routes}

    def path_of(endpoint: Any) -> str:
        return paths.get(endpoint, "other")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(fleet.end)

    router = Router(routes, redirect_slashes=False, lifespan=lifespan)
    return Front(router, options, meter, clock, report, path_of)

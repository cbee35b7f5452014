"""PUT and GET of /pointers/{trainer}, and what is served at all."""

import hashlib

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from upm_cli.agent.server.body import only_query, read_body
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.meter import Meter
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.problems import ProblemError
from upm_cli.agent.server.replies import JsonReply, not_modified


class Pointers:
    """The handlers of pointers."""

    def __init__(self, fleet: Fleet, options: ServeOptions, meter: Meter) -> None:
        self._fleet, self._options, self._meter = fleet, options, meter

    async def put(self, request: Request) -> Response:
        """Take a pointer: prove it, load its model, swap, and only then say what is served."""
        tenant = only_query(request, "tenant").get("tenant", "")
        if self._fleet.pulls:
            raise ProblemError("pulls")
        data = await read_body(request, self._options.limits)
        try:
            ack, is_new = await anyio.to_thread.run_sync(self._fleet.take, request.path_params["trainer"], tenant, data)
        except ProblemError as exc:
            self._meter.pointers[exc.code] += 1
            raise
        self._meter.pointers["taken" if is_new else "same"] += 1
        return JsonReply(ack)

    async def get(self, request: Request) -> Response:
        """Send the pointer that is served, as it came."""
        tenant = only_query(request, "tenant").get("tenant", "")
        data = self._fleet.envelope(request.path_params["trainer"], tenant)
        etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if not_modified(request, etag):
            return Response(None, 304, headers)
        return Response(data, 200, headers, "application/json")

    async def status(self, request: Request) -> Response:
        """Say what is served: to everybody, or to whom the query names."""
        query = only_query(request, "trainer", "tenant")
        self._fleet.key_of(query.get("trainer", "any"), query.get("tenant", ""))
        acks = [each.ack(self._fleet.name) for each in self._fleet.serving()]
        found = [ack for ack in acks if all(ack[name] == value for name, value in query.items())]
        return JsonReply({"agent": self._fleet.name, "serving": found})

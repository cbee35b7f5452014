"""Running an HTTP agent: one process for each folder, until it is told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from upm_cli.agent.server.app import make_app
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.guard import guarded
from upm_cli.agent.server.incoming import remove_unfinished
from upm_cli.agent.server.options import ServeOptions
from upm_cli.clock import Clock
from upm_cli.errors import BusyError, InvalidError, UpmError, UsageError
from upm_cli.exit_codes import ExitCode
from upm_cli.ids import iso
from upm_cli.safehttp.tokens import read_token
from upm_cli.store import fsio
from upm_cli.store.filelock import FileLock, noted_holder

GRACE_S = 30  # for requests that are being answered when it is told to stop

Tell = Callable[[str], None]
Report = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What runs now, and where."""

    agent: str
    url: str
    pid: int
    serving: int

    def __str__(self) -> str:
        what = f"{self.serving} model{'' if self.serving == 1 else 's'}" if self.serving else "nothing yet"
        return f"agent {self.agent} listens on {self.url} and serves {what}"


class _Server(uvicorn.Server):
    """Uvicorn's server, without hands of its own on signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(options: ServeOptions, clock: Clock, tell: Tell, started: Callable[[Started], None]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. `tell` is given lines for people, `started` is called once.

    Raises UpmError when it can't begin.
    """
    options.check()
    if options.token_file is not None:
        read_token(options.token_file)
    os.umask(0o077)
    fsio.make_folder(options.folder)
    with _only_one(options):
        remove_unfinished(options.folder)
        fleet = Fleet(options, clock)
        with contextlib.closing(_listen(options)) as listener:
            fleet.begin()
            started(_started(options, listener, fleet))
            return asyncio.run(_run(options, fleet, listener, clock, tell))


async def _run(options: ServeOptions, fleet: Fleet, listener: socket.socket, clock: Clock, tell: Tell) -> int:
    def report(error: BaseException) -> None:
        tell(f"error[UPM-E001]: {type(error).__name__}: {error}; details: {_crash(options, clock, error)}")

    server = _Server(configuration(options, make_app(fleet, options, clock, report), report))
    stopped: list[int] = []

    def stop(number: int) -> None:
        server.force_exit = bool(stopped) and number == signal.SIGINT
        server.should_exit = True
        stopped.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await server.serve(sockets=[listener])
    if server.force_exit:
        fleet.end()
    tell(f"stopped; {fleet.log.written:,} lines of the prediction log are written, {fleet.log.dropped:,} were dropped")
    return ExitCode.INTERRUPTED if stopped[:1] == [signal.SIGINT] else ExitCode.TERMINATED


class _Reporting(logging.Handler):
    """Hands what Uvicorn calls an error to whoever is told of what nobody expected."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._report(error or RuntimeError(record.getMessage()))


def configuration(options: ServeOptions, app: Any, report: Report) -> uvicorn.Config:
    """Return how Uvicorn serves `app`; its log is not wanted, but for errors."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    logger.handlers, logger.propagate = [_Reporting(report)], False
    limits = options.limits
    config = uvicorn.Config(
        app,
        http=guarded(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=limits.head_bytes,
    )
    if options.tls_cert is not None and options.tls_key is not None:
        config.load()
        config.ssl = _tls(options)
    return config


def _tls(options: ServeOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert or "", options.tls_key, password=_no_password)
    except OSError as exc:  # an SSLError is one too
        raise InvalidError(
            f"the certificate in {options.tls_cert} and the key in {options.tls_key} can't be used: "
            f"{exc.strerror or exc}",
            hint="PEM files that belong together, without a password",
            code="UPM-E146",
        ) from exc
    return context


def _no_password() -> str:
    raise OSError("the key has a password")


def _listen(options: ServeOptions) -> socket.socket:
    """Return the socket that it listens on. Raises UsageError when that is not possible."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as exc:
        raise UsageError(
            f"can't listen on {options.host}, port {options.port}: {os.strerror(exc.errno or 0)}",
            hint="another program may have it: choose another with --port",
            code="UPM-E148",
        ) from exc


@contextlib.contextmanager
def _only_one(options: ServeOptions) -> Iterator[None]:
    """Hold the folder. Raises BusyError when another process has it."""
    lock = FileLock(options.folder / "serve.lock")
    if not lock.try_acquire("upm agent serve"):
        holder = noted_holder(lock.path)
        lock.release()
        raise BusyError(
            f"{options.folder} is served by {holder} already",
            hint="give this one a folder of its own: --dir",
            context={"pid": holder.pid},
        )
    try:
        yield
    finally:
        lock.release()


def _started(options: ServeOptions, listener: socket.socket, fleet: Fleet) -> Started:
    host, port = listener.getsockname()[:2]
    scheme = "https" if options.tls_cert is not None else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return Started(agent=fleet.name, url=url, pid=os.getpid(), serving=len(list(fleet.serving())))


def _crash(options: ServeOptions, clock: Clock, error: BaseException) -> str:
    """Write the traceback of `error` to a file; return where, or the traceback if that fails."""
    text = "".join(traceback.format_exception(error))
    path = options.folder / "crash" / f"{iso(clock.now_ms()).replace(':', '')}-{os.getpid()}.txt"
    try:
        fsio.make_folder(path.parent)
        fsio.replace_file(path, f"Python {sys.version.split()[0]}\n{text}".encode(errors="backslashreplace"))
    except UpmError:
        return text
    return str(path)

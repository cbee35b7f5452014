"""Looking up names, within the time that is left."""

import queue
import socket
import threading
from collections.abc import Callable, Sequence

from upm_cli.safehttp.faults import Fault, HttpError
from upm_cli.safehttp.sockets import LeftS
from upm_cli.safehttp.urls import Url

#: Host and port → addresses as text. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]


def resolved(url: Url, left_s: LeftS, resolve: Resolve) -> Sequence[str]:
    """Return the addresses of a name. A resolver can't be interrupted, so it works in a thread that is left behind."""
    answers: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(resolve(url.host, url.port))
        except OSError as exc:
            answers.put(exc)
        except UnicodeError as exc:
            answers.put(OSError(str(exc)))

    threading.Thread(target=look, name="resolve", daemon=True).start()
    try:
        found = answers.get(timeout=left_s())
    except queue.Empty as exc:
        raise HttpError(Fault.TIMEOUT, f"the name {url.host} was not looked up in time") from exc
    if isinstance(found, OSError) or not found:
        why = found.strerror if isinstance(found, OSError) else "it has no address"
        raise HttpError(Fault.UNREACHABLE, f"the name {url.host} can't be looked up: {why}")
    return found


def system_resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host` as the operating system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]

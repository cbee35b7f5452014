"""Telling systemd how we are: READY=1, STATUS=…, WATCHDOG=1, STOPPING=1 to the socket it named, if it named one."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(slots=True)
class Notifier:
    """The socket of the service manager; everything is silent without one.

    `address` is a path, or begins with @ for an abstract one. `watchdog_s` is how long the manager waits for a sign of
    life before it ends us; 0: for ever.
    """

    address: str = ""
    watchdog_s: float = 0.0
    _signed_at_s: float = -1.0
    _status: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Self:
        """Return the notifier that NOTIFY_SOCKET and WATCHDOG_USEC describe; a watchdog may be for another process."""
        watched = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(microseconds) / 1e6 if watched and microseconds.isdigit() else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def reloading(self, monotonic_s: float) -> None:
        """Say that a reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def status(self, text: str) -> None:
        """Say in one line what goes on, if it is something else than before."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self, now_s: float) -> None:
        """Give a sign of life when half of the watchdog's time is over."""
        if self.watchdog_s and (self._signed_at_s < 0 or now_s - self._signed_at_s >= self.watchdog_s / 2):
            self._signed_at_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        """Send without waiting: a manager that does not listen must not hold us up."""
        if self.address[:1] not in ("/", "@"):
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError:
            return


def scrub(environ: "os._Environ[str]") -> None:
    """Take the manager's variables away from the processes we start."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(name, None)

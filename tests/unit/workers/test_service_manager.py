"""What the service manager is told, on a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from upm_cli.workers.notify import Notifier, scrub


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The manager's socket, and how NOTIFY_SOCKET names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = str(tmp_path / "notify") if request.param == "path" else f"@upm-test-{os.getpid()}"
        listening.bind(name.replace("@", "\0"))
        listening.setblocking(False)
        yield name, listening


def heard(listening: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


def test_it_is_told_the_states_of_a_service(manager: tuple[str, socket.socket]) -> None:
    name, listening = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": name}, 1)
    notifier.ready()
    notifier.status("2 workers\nREADY=1")
    notifier.status("2 workers\nREADY=1")
    notifier.reloading(12.5)
    notifier.stopping()
    notifier.alive(0.0)
    assert heard(listening) == [
        "READY=1", "STATUS=2 workers READY=1", "RELOADING=1\nMONOTONIC_USEC=12500000", "STOPPING=1",
    ]  # fmt: skip


def test_the_watchdog_gets_a_sign_twice_in_its_time(manager: tuple[str, socket.socket]) -> None:
    name, listening = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}
    notifier = Notifier.from_environment(environ, 77)
    for second in range(61):
        notifier.alive(float(second))
    assert heard(listening) == ["WATCHDOG=1"] * 5
    assert Notifier.from_environment(environ, 78).watchdog_s == 0.0, "it is meant for another process"
    assert Notifier.from_environment({**environ, "WATCHDOG_USEC": "soon"}, 77).watchdog_s == 0.0


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_without_anybody_to_tell_nothing_happens(name: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": name} if name else {}, 1)
    notifier.ready()


def test_what_is_started_does_not_inherit_the_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "x")
    scrub(os.environ)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()

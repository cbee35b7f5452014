"""`upm agent status` against whatever may answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stub import Behave, Request, Stub, ack_of, answer, says

from upm_cli.adapters.base import Delivery
from upm_cli.app import main
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.errors import TimedOutError, UpmError
from upm_cli.ops.agents import Asked, ask

Serve = Callable[..., Stub]


def asked(url: str, clock: Any = None, **more: Any) -> Asked:
    options = {"token_file": None, "ca_file": None, "allow_hosts": (), "timeout_s": 30.0, **more}
    return ask(url, clock=clock or SystemClock(), **options)


def split(status: bytes, ready: bytes) -> Behave:
    def behave(stub: Stub, request: Request) -> None:
        request.conn.sendall(status if request.path == "/status" else ready)

    return behave


READY = answer(200, {"status": "ok", "stale": 0})


def test_what_an_agent_says_is_handed_on(serve: Serve, delivery: Delivery) -> None:
    ack = ack_of(delivery.pointer)
    stub = serve(split(answer(200, {"agent": "edge-1", "serving": [ack, {**ack, "loaded_at": None}]}), READY))
    found = asked(f"http://agent.example:{stub.port}", allow_hosts=("agent.example",), resolve=lambda *_: ["127.0.0.1"])
    assert (found.agent, found.status, [row["version"] for row in found.serving]) == ("edge-1", "ok", [42, 42])
    assert [row["loaded_at"] for row in found.serving] == ["2026-11-29T12:00:00.000Z", None]


@pytest.mark.parametrize(
    "behave",
    [
        says(200, b"hello"),
        says(200, {}),
        says(404, {}),
        says(500, {"title": "trouble"}),
        split(answer(200, {"agent": "a", "serving": 1}), READY),
        split(answer(200, {"agent": "a", "serving": [{}]}), READY),
        split(answer(200, {"agent": "a", "serving": []}), answer(200, {"status": "ok"})),
        split(answer(200, {"agent": "a", "serving": []}), answer(200, {"status": "ok", "stale": "many"})),
        split(answer(200, {"agent": "a", "serving": []}), answer(502, b"")),
    ],
)
def test_what_is_no_agent_ends_with_one_error(behave: Behave, serve: Serve) -> None:
    with pytest.raises(UpmError) as raised:
        asked(serve(behave).url)
    assert raised.value.code == "UPM-E140"


def test_a_token_that_is_not_right_is_said(serve: Serve) -> None:
    with pytest.raises(UpmError) as raised:
        asked(serve(says(403, {})).url)
    assert raised.value.code == "UPM-E150"


def test_no_time_is_too_little_time() -> None:
    with pytest.raises(TimedOutError):
        asked("http://localhost:1", ManualClock(), timeout_s=0)


def test_inside_a_project_the_hosts_that_sync_sends_to_may_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["agent", "status", "https://10.255.255.1:1", "--timeout", "0.2s"]
    monkeypatch.chdir(tmp_path)
    assert main(words) == 5
    config = tmp_path / "upm.yaml"
    config.write_text("adapter_sync: {allow_hosts: [10.255.0.0/16]}\n")
    capsys.readouterr()
    assert main(words) in (8, 10)  # there is nobody, but it was tried
    assert "nothing is sent" not in capsys.readouterr().err
    config.write_text("adapter_sync: {allow_hosts: [10.1.0.0/16]}\n")
    assert main(words) == 5
    assert main([*words, "--allow-host", "10.255.255.1"]) in (8, 10)
    config.write_text("adapter_sync: {allow_hosts: 5")
    capsys.readouterr()
    assert main(words) == 5
    assert "warning: adapter_sync.allow_hosts is not known" in capsys.readouterr().err

"""An HTTP agent as a process: how it begins and ends, who may connect, and many at the same time."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running import Site, ask, running

from upm_cli.adapters.base import Deadline, Delivery
from upm_cli.adapters.http import HttpAdapter
from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.core.delivery import places
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.safehttp.tokens import read_token

ROOT = Path(__file__).resolve().parents[2]
WINDOW = {"features": {"hour": 9, "sender": "bank.example"}}
HEAVY = "duckdb,pyarrow,typer,pydantic,textual,msgspec,yaml,rich,httpx,requests"


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `python -m upm_cli.agent serve`; gives the process and the URL that it says it listens on."""
    command = [sys.executable, "-m", "upm_cli.agent", "serve", "--port", "0", "--name", "edge-1", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stderr is not None
        line = started.stderr.readline()
        assert " listens on " in line, line + started.stderr.read()
        yield started, line.split(" listens on ")[1].split()[0]
    finally:
        started.kill()
        started.communicate()


def deliver(url: str, site: Site, number: int = 0, **more: Any) -> Pointer:
    publisher = site.publisher(serial=number, tenant=more.pop("tenant", ""))
    pointer: Pointer = site.publish(publisher, number)
    model = site.root / places.model(pointer.digest, pointer.model.codec)
    delivery = Delivery(pointer=pointer, envelope=publisher.sent[-1][1], model=model)
    clock = SystemClock()
    assert HttpAdapter(url, clock=clock, **more).deliver(delivery, Deadline.after(clock, 30)).confirms(pointer)
    return pointer


def test_sigterm_lets_it_finish_what_it_is_asked_and_write_its_log(tmp_path: Path, site: Site) -> None:
    with process("--dir", str(tmp_path / "agent")) as (started, url):
        deliver(url, site)
        host, _, port = url.removeprefix("http://").partition(":")
        body = json.dumps({"windows": [WINDOW] * 100}).encode()
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:50])
            ask(http.client.HTTPConnection(host, int(port), timeout=20), "GET", "/healthz", Connection="close")
            started.send_signal(signal.SIGTERM)
            while _answers(host, int(port)):
                pass
            sock.sendall(body[50:])
            found = b""
            while piece := sock.recv(65536):
                found += piece
        assert found.startswith(b"HTTP/1.1 200")
        assert started.wait(20) == 143
        assert started.stderr is not None
        assert "100 lines of the prediction log are written, 0 were dropped" in started.stderr.read()
    (log,) = (tmp_path / "agent/log").iterdir()
    assert (log.name, log.read_bytes().count(b"\n")) == ("predictions-edge-1-000001.jsonl", 100)
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "agent").rglob("*") if path.is_file()}
    assert modes == {"0o600"}


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_the_command_says_where_it_listens_and_stops_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "upm_cli", "agent", "serve", "--dir", str(tmp_path), "--port", "0", "--json", "-q"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        said = json.loads(started.stdout.readline())
        assert said.pop("schema_version") == 1
        assert (set(said), said["pid"]) == (_documented("upm agent serve"), started.pid)
        clock = SystemClock()
        assert HttpAdapter(said["url"], clock=clock).report("main", "", Deadline.after(clock, 20)) is None
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=20)
        assert (started.returncode, out, err) == (143, "", "")
    finally:
        started.kill()
        started.communicate()


def test_it_can_be_killed_and_goes_on_with_what_it_acknowledged(tmp_path: Path, site: Site) -> None:
    with process("--dir", str(tmp_path / "agent")) as (started, url):
        pointer = deliver(url, site)
        (tmp_path / "agent/models/.half.tmp").write_bytes(b"x")
        started.kill()
    with process("--dir", str(tmp_path / "agent")) as (started, url):
        report = HttpAdapter(url, clock=SystemClock()).report("main", "", Deadline.after(SystemClock(), 20))
        assert report is not None
        assert report.confirms(pointer)
        started.send_signal(signal.SIGINT)
        assert started.wait(20) == 130
    assert not (tmp_path / "agent/models/.half.tmp").exists()


def test_a_folder_is_served_by_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with process("--dir", str(tmp_path / "agent")) as (started, _):
        assert main(["agent", "serve", "--dir", str(tmp_path / "agent"), "--port", "0"]) == 7
        assert f"is served by pid {started.pid}" in capsys.readouterr().err


def test_the_process_imports_nothing_that_an_agent_does_not_need(tmp_path: Path, site: Site) -> None:
    script = (
        "import sys, threading, os, signal\n"
        "from pathlib import Path\n"
        "from upm_cli.agent.server import run\n"
        "from upm_cli.agent.server.options import ServeOptions\n"
        "from upm_cli.clock import SystemClock\n"
        "def started(found):\n"
        "    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "run.serve(ServeOptions(folder=Path(sys.argv[1]), port=0), SystemClock(), print, started)\n"
        f"print('HEAVY', sorted(set('{HEAVY}'.split(',')) & {{name.partition('.')[0] for name in sys.modules}}))\n"
    )
    with running(tmp_path / "agent") as agent:
        agent.push(site.publisher(), site.trained.arrays, site.trained.manifest, version=1)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "agent")], env=env, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.splitlines()[-1] == "HEAVY []", ran.stdout + ran.stderr


def test_tls_and_a_token_let_others_connect(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key, token = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "token"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    assert main(["agent", "token", str(token)]) == 0
    options = ["--token-file", str(token), "--tls-cert", str(certificate), "--tls-key", str(key), "--host", "0.0.0.0"]
    with process("--dir", str(tmp_path / "agent"), *options) as (_, url):
        url = url.replace("0.0.0.0", "localhost")
        deliver(url, site, tenant="acme", token_file=token, ca_file=certificate)
        capsys.readouterr()
        asked = ["agent", "status", url, "--token-file", str(token), "--ca-file", str(certificate), "--json"]
        assert main(asked) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["agent"], said["status"], said["serving"][0]["tenant"]) == ("edge-1", "ok", "acme")
        assert _fields(said) == _documented("upm agent status")
        assert main(["agent", "status", url, "--ca-file", str(certificate)]) == 5
        assert "wants another token" in capsys.readouterr().err
        assert main(["agent", "status", url, "--token-file", str(token)]) == 8
        assert "certificate is not accepted" in capsys.readouterr().err
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificate)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        port = int(url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.version() == "TLSv1.2"


def _fields(said: dict[str, Any]) -> set[str]:
    rows = {f"serving[].{name}" for name in said["serving"][0]}
    return rows | (set(said) - {"schema_version", "serving"})


def _documented(command: str) -> set[str]:
    """Return the fields that docs/reference/json.md has for a command."""
    text = (ROOT / "docs/reference/json.md").read_text().partition(f"## `{command}`\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_status_says_what_is_served_and_how_it_is(
    tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path / "agent") as agent:
        assert main(["agent", "status", agent.url, "-o", "table"]) == 6
        assert "nothing is served yet" in capsys.readouterr().err
        agent.push(site.publisher(tenant="acme"), site.trained.arrays, site.trained.manifest, version=1)
        assert main(["agent", "status", agent.url, "-o", "table"]) == 0
        shown = capsys.readouterr().out
        assert "agent edge-1: ok" in shown
        assert "v1" in shown
        assert "acme" in shown
        publisher = site.publisher(tenant="old", now_ms=0)
        agent.push(publisher, site.trained.arrays, site.trained.manifest, version=1, expires_at_ms=4_000_000_000_000)
        agent.fleet.agent("main", "old")._clock = _Later()  # type: ignore[assignment]
        assert main(["agent", "status", agent.url, "--json"]) == 6
        assert (json.loads(capsys.readouterr().out)["status"]) == "stale"


class _Later(SystemClock):
    def now_ms(self) -> int:
        return 5_000_000_000_000


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://127.0.0.1:1", 8, "can't be reached"),
        ("http://169.254.169.254", 5, "nothing is sent to"),
        ("https://10.0.0.1", 5, "allow_hosts"),
        ("ftp://x", 2, "can't be used as an address"),
        ("http://127.0.0.1:1/?a=b", 2, "no query"),
    ],
)
def test_an_agent_that_can_not_be_asked_is_said(
    url: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agent", "status", url]) == code
    assert words in capsys.readouterr().err


def test_an_agent_that_does_not_answer_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert main(["agent", "status", url, "--timeout", "0.3s"]) == 10
    capsys.readouterr()


def test_something_that_is_no_agent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path / "agent") as agent:
        assert main(["agent", "status", f"{agent.url}/elsewhere"]) == 8
        assert "as an agent of upm does not" in capsys.readouterr().err


def test_a_token_is_made_once_and_kept_private(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    assert main(["agent", "token", str(file), "--dry-run"]) == 0
    assert not file.exists()
    assert main(["agent", "token", str(file)]) == 0
    first = read_token(file).value
    assert (len(first), oct(file.stat().st_mode & 0o777)) == (64, "0o600")
    assert main(["agent", "token", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["created"] is False
    assert read_token(file).value == first
    assert main(["agent", "token", str(file), "--replace", "--no-input"]) == 2
    assert main(["agent", "token", str(file), "--replace", "--yes"]) == 0
    assert read_token(file).value != first
    file.chmod(0o644)
    assert main(["agent", "token", str(file)]) == 5
    said = capsys.readouterr()
    assert first not in said.out + said.err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--host", "0.0.0.0"], 5, "without a token"),
        (["--token-file", "missing"], 4, "no token file"),
        (["--host", "192.0.2.1", "--token-file", "token", "--behind-proxy"], 2, "can't listen"),
        (["--tls-cert", "token", "--tls-key", "token"], 3, "can't be used"),
        (["--name", "No Name"], 2, "can't name a agent"),
        (["--pull", "nowhere"], 4, "no model"),
    ],
)
def test_what_keeps_it_from_beginning_is_said(
    options: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["agent", "token", "token"]) == 0
    assert main(["agent", "serve", "--dir", "state", "--port", "0", *options]) == code
    assert words in capsys.readouterr().err


def test_the_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("upm_cli.agent.server.run")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("upm_cli.agent.server.run", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["agent", "serve", "--dir", str(tmp_path)]) == 2
    assert "pip install 'upm[serve]'" in capsys.readouterr().err


def test_a_thousand_predictions_while_twenty_models_come_are_each_of_one_model(tmp_path: Path, site: Site) -> None:
    """Every answer has the probability that its version gives, and no request fails."""
    publisher = site.publisher()
    answers: list[dict[str, Any]] = []
    failures: list[Any] = []
    with running(tmp_path / "agent") as agent:
        agent.push(publisher, site.trained.variant(0), site.trained.manifest, version=1)
        done = threading.Event()

        def predict(requests: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
            try:
                for _ in range(requests):
                    got = ask(connection, "POST", "/predict", {"windows": [WINDOW] * 5})
                    rows = got.json["predictions"] if got.status == 200 else []
                    if len(rows) != 5 or len({(row["version"], row["probability"]) for row in rows}) != 1:
                        failures.append((got.status, got.body))
                    answers.extend(rows[:1])
            except Exception as exc:
                failures.append(exc)
            finally:
                connection.close()

        def push() -> None:
            for number in range(1, 21):
                got = agent.push(publisher, site.trained.variant(number), site.trained.manifest, version=number + 1)
                if got.status != 200 or got.json["version"] != number + 1:
                    failures.append(got.body)
            done.set()

        threads = [threading.Thread(target=predict, args=(125,)) for _ in range(8)] + [threading.Thread(target=push)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert done.is_set()
        assert failures == []
        expected = {}
        for version, (pointer, _) in enumerate(publisher.sent, 1):
            expected[version] = pointer.digest
        assert agent.get("/status").json["serving"][0]["digest"] == expected[21]
    assert len(answers) == 1000
    by_version: dict[int, set[float]] = {}
    for row in answers:
        by_version.setdefault(row["version"], set()).add(row["probability"])
    assert all(len(found) == 1 for found in by_version.values())
    assert len(by_version) > 1
    assert len({probability for (probability,) in by_version.values()}) == len(by_version)

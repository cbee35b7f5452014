"""An agent that fetches its models from a server: whatever that does, and while it is away."""

import fcntl
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from upm_cli.agent import AgentError, AgentUsageError, DamagedError, NothingToServeError, UnreachableError, remote
from upm_cli.agent.url import Server
from upm_cli.clock import ManualClock
from upm_cli.core.delivery import places
from upm_cli.testing import key_of, trust_file

Site = Any
TOKEN = "a" * 50
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Serves:
    """A server of a model directory, as `upm agent serve` is one, and all that it was asked for."""

    root: Path
    token: str = ""
    ranges: bool = True
    asked: list[tuple[str, str, int]] = field(default_factory=list)  # path, Range, status
    odd: dict[str, Callable[[Answer], Answer]] = field(default_factory=dict)  # by path prefix: something else instead
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, target: str, headers: Any) -> Answer:
        url = urlsplit(target)
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {}, b"{}"
        made = self._found(url.path, parse_qs(url.query).get("tenant", [""])[0], headers)
        for prefix, change in self.odd.items():
            if url.path.startswith(prefix):
                made = change(made)
        self.asked.append((target, headers.get("Range", ""), made[0]))
        return made

    def _found(self, path: str, tenant: str, headers: Any) -> Answer:
        if path == "/status":
            found = (self.root / "pointers").glob("*/*.json")
            acks = [{"trainer": each.parent.name, "tenant": ""} for each in found if each.name == "_.json"]
            return 200, {}, json.dumps({"agent": "hub", "serving": acks}).encode()
        if path.startswith("/pointers/"):
            file = self.root / places.pointer(path.rpartition("/")[2], tenant)
        else:
            file = next((self.root / "models").glob(f"{path.rpartition('/')[2]}.*"), self.root / "none")
        if not file.exists():
            return 404, {}, b"{}"
        data = file.read_bytes()
        etag = f'"{hash(data)}"'
        if headers.get("If-None-Match") == etag:
            return 304, {"ETag": etag}, b""
        wanted = headers.get("Range")
        if wanted and self.ranges and path.startswith("/models/"):
            first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
            if first >= len(data):
                return 416, {}, b""
            part = data[first : last + 1]
            return 206, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}, part
        return 200, {"ETag": etag}, data


def running(serves: Serves) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = serves.answer(self.path, self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", serves.port), Handler)


@dataclass
class Hub:
    """A server that can be switched off and on."""

    serves: Serves
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def on(self) -> None:
        self._server = running(self.serves)
        self.serves.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def off(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


@pytest.fixture
def hub(site: Site) -> Iterator[Any]:
    made = Hub(Serves(site.root))
    made.on()
    site.serves, site.hub = made.serves, made
    yield site
    made.off()


def follow(hub: Any, **more: Any) -> Any:
    return hub.open(location=hub.serves.url, **more)


def models_asked(hub: Any) -> list[tuple[str, int]]:
    return [(wanted, status) for path, wanted, status in hub.serves.asked if path.startswith("/models/")]


def test_a_model_is_fetched_once_and_a_pointer_only_when_it_has_changed(hub: Any) -> None:
    publisher = hub.publisher()
    hub.publish(publisher)
    agent = follow(hub)
    assert agent.predict({"hour": 9}).version == 1
    assert not agent.refresh()
    assert not agent.refresh()
    statuses = [status for path, _, status in hub.serves.asked if path.startswith("/pointers/")]
    assert statuses == [200, 304, 304]
    assert len(models_asked(hub)) == 1
    pointer = hub.publish(publisher, 1)
    assert agent.refresh()
    assert (agent.serving.version, agent.serving.digest) == (2, pointer.digest)
    assert agent.health().is_ok
    assert not (hub.root / "acks").exists()


def test_its_cache_has_the_layout_of_a_model_directory(hub: Any) -> None:
    pointer = hub.publish(hub.publisher(tenant="acmé & co"))
    follow(hub, tenant="acmé & co", trainer="main")
    for name in (places.pointer("main", "acmé & co"), places.model(pointer.digest, "zstd")):
        assert (hub.folder / "state" / name).read_bytes() == (hub.root / name).read_bytes()
    assert hub.open(location=hub.folder / "state", cache=hub.folder / "two", tenant="acmé & co").serving.version == 1


def test_while_the_server_is_away_the_agent_goes_on_and_starts_with_what_it_has(hub: Any) -> None:
    publisher = hub.publisher()
    hub.publish(publisher)
    agent = follow(hub)
    hub.hub.off()
    assert not agent.refresh()
    assert agent.predict({}).version == 1
    assert agent.health().last_error.code == "UPM-E135"
    agent.close()
    again = follow(hub)
    assert (again.serving.version, again.health().last_error.code) == (1, "UPM-E135")
    hub.publish(publisher, 1)
    hub.hub.on()
    assert again.refresh()
    assert (again.serving.version, again.health().is_ok) == (2, True)
    hub.hub.off()
    with pytest.raises(UnreachableError, match="can't be reached"):
        follow(hub, cache=hub.folder / "other")


def test_what_was_fetched_of_a_model_is_not_fetched_again(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PIECE", 300)
    pointer = hub.publish(hub.publisher(codec="none"))
    size = pointer.model.size_bytes
    assert size > 1200
    left = 2

    def dies(answer: Answer) -> Answer:
        nonlocal left
        left -= 1
        return answer if left >= 0 else (503, {}, b"")

    hub.serves.odd["/models/"] = dies
    with pytest.raises(UnreachableError, match="answered 503"):
        follow(hub)
    hub.serves.odd.clear()
    hub.serves.asked.clear()
    agent = follow(hub)
    assert agent.predict({}).version == 1
    assert models_asked(hub)[0] == ("bytes=600-899", 206)
    assert len(models_asked(hub)) == -(-size // 300) - 2


@pytest.mark.parametrize("kept", [b"x" * 10, b"x" * 10**6])
def test_a_start_of_a_download_that_is_wrong_is_thrown_away(hub: Any, kept: bytes) -> None:
    pointer = hub.publish(hub.publisher())
    path = hub.folder / "state" / places.model(pointer.digest, "zstd")
    path.parent.mkdir(parents=True)
    partial = path.with_name(f".{path.name}.fetched")
    partial.write_bytes(kept)
    if len(kept) < pointer.model.size_bytes:
        with pytest.raises(DamagedError, match="sends other bytes"):
            follow(hub)
    assert follow(hub).predict({}).version == 1
    assert not partial.exists()


def test_a_damaged_file_in_the_cache_is_fetched_again(hub: Any) -> None:
    pointer = hub.publish(hub.publisher())
    follow(hub).close()
    path = hub.folder / "state" / places.model(pointer.digest, "zstd")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    agent = follow(hub)
    assert (agent.health().is_ok, len(models_asked(hub))) == (True, 2)


def test_a_server_that_knows_no_ranges_sends_all_of_it(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PIECE", 300)
    hub.serves.ranges = False
    hub.publish(hub.publisher(codec="none"))
    assert follow(hub).predict({}).version == 1
    assert [status for _, status in models_asked(hub)] == [200, 200]
    monkeypatch.setattr(remote, "PIECE", 1 << 20)
    assert follow(hub, cache=hub.folder / "other").predict({}).version == 1


@pytest.mark.parametrize(
    ("prefix", "change", "kind", "why"),
    [
        ("/pointers/", lambda a: (500, {}, b""), UnreachableError, "answered 500"),
        ("/pointers/", lambda a: (302, {"Location": "http://169.254.169.254/"}, b""), UnreachableError, "answered 302"),
        ("/pointers/", lambda a: (304, {}, b""), UnreachableError, "answered 304"),
        ("/pointers/", lambda a: (404, {}, b"{}"), NothingToServeError, "has no pointer"),
        ("/pointers/", lambda a: (200, {}, b"<html>"), DamagedError, "not JSON"),
        ("/pointers/", lambda a: (200, {}, b" " * (2 << 20)), UnreachableError, "more than"),
        (
            "/pointers/",
            lambda a: (200, {"Content-Length": "9999999"}, a[2]),
            UnreachableError,
            "cut off|can't be reached",
        ),
        ("/models/", lambda a: (404, {}, b"{}"), DamagedError, "but not its model"),
        ("/models/", lambda a: (200, {}, a[2][:-1]), UnreachableError, "bytes of a model of"),
        ("/models/", lambda a: (200, {}, b"x" * len(a[2])), DamagedError, "sends other bytes"),
        ("/models/", lambda a: (206, {"Content-Range": "bytes 5-9/10"}, a[2]), UnreachableError, "answered 206"),
        ("/models/", lambda a: (206, {}, a[2]), UnreachableError, "answered 206"),
        ("/models/", lambda a: (416, {}, b""), UnreachableError, "answered 416"),
        ("/models/", lambda a: (206, a[1], b""), UnreachableError, "answered 206"),
        ("/status", lambda a: (500, {}, b""), UnreachableError, "answered 500"),
        ("/status", lambda a: (200, {}, b"[]"), UnreachableError, "does not say"),
        ("/status", lambda a: (200, {}, b'{"serving": 5}'), UnreachableError, "does not say"),
        ("/status", lambda a: (200, {}, b'{"serving": [{"trainer": "../x"}]}'), UnreachableError, "does not say"),
        ("/status", lambda a: (200, {}, b'{"serving": []}'), NothingToServeError, "no model for windows without"),
        (
            "/status",
            lambda a: (200, {}, b'{"serving": [{"trainer": "a"}, {"trainer": "b", "tenant": null}]}'),
            AgentUsageError,
            "2 trainers",
        ),
    ],
)
def test_whatever_a_server_answers_is_told_in_words(
    hub: Any, prefix: str, change: Callable[[Answer], Answer], kind: type[AgentError], why: str
) -> None:
    hub.publish(hub.publisher())
    hub.serves.odd[prefix] = change
    with pytest.raises(kind, match=why):
        follow(hub)
    hub.serves.odd.clear()
    assert follow(hub).predict({}).version == 1, "nothing of it was kept"


def test_signatures_are_asked_for_over_http_too(hub: Any) -> None:
    publisher = hub.publisher(seeds=(key_of("thief"),))
    hub.publish(publisher)
    trust = trust_file(hub.folder / "trust.json", key_of("good"))
    with pytest.raises(AgentError) as caught:
        follow(hub, trust=trust)
    assert caught.value.code == "UPM-E133"
    assert models_asked(hub) == [], "a model is not even fetched for it"


def test_the_token_is_read_from_its_file_and_sent(hub: Any) -> None:
    hub.serves.token = TOKEN
    hub.publish(hub.publisher())
    with pytest.raises(UnreachableError, match="answered 401") as caught:
        follow(hub)
    assert "token" in caught.value.hint
    file = hub.folder / "token"
    with pytest.raises(UnreachableError, match="no token file"):
        follow(hub, token_file=file)
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(UnreachableError, match="others may read"):
        follow(hub, token_file=file)
    file.chmod(0o600)
    agent = follow(hub, token_file=file)
    file.write_text("b" * 50)
    agent.refresh()
    assert agent.predict({}).version == 1
    assert TOKEN not in str(agent.health())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://models.example", "without TLS"),
        ("http://10.0.0.7:8765", "without TLS"),
        ("https://user:secret@models.example", "user or password"),
        ("https://models.example/?a=b", "has a query"),
        ("file:///srv/models", "neither https nor http"),
        ("https://", "can't be used"),
        ("http://0x7f.1/", "can't be used"),
    ],
)
def test_an_address_that_is_none_or_would_lose_the_token_is_refused(site: Site, address: str, why: str) -> None:
    with pytest.raises(AgentUsageError, match=why):
        site.open(location=address, token_file=site.folder / "token")


def test_without_a_token_an_address_inside_the_own_network_is_fine() -> None:
    server = Server("http://10.0.0.7:8765/hub", token_file=None, ca_file=None, clock=ManualClock())
    assert str(server) == "http://10.0.0.7:8765/hub"


def test_two_agents_that_begin_at_once_fetch_a_model_once(hub: Any) -> None:
    hub.publish(hub.publisher())
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(follow(hub).serving.version)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]
    assert len(models_asked(hub)) == 1


def test_another_process_that_fetches_for_ever_is_not_waited_for_for_ever(hub: Any) -> None:
    pointer = hub.publish(hub.publisher())
    path = hub.folder / "state" / places.model(pointer.digest, "zstd")
    path.parent.mkdir(parents=True)
    with path.with_name(f".{path.name}.fetched").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UnreachableError, match="another process is fetching"):
            follow(hub)


def test_a_cache_that_can_not_be_written_is_told(hub: Any) -> None:
    hub.publish(hub.publisher())
    (hub.folder / "file").touch()
    with pytest.raises(UnreachableError, match="the model of main@1"):
        follow(hub, cache=hub.folder / "file" / "cache")
    shutil.rmtree(hub.folder / "state", ignore_errors=True)

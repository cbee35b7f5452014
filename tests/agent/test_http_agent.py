"""An HTTP agent: what it takes, what it serves, and what it answers."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import NOW_MS, Running, Site, Trained, running

from upm_cli.adapters.base import Deadline, Delivery
from upm_cli.adapters.http import HttpAdapter
from upm_cli.app import main
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.core.delivery import places
from upm_cli.store import fsio
from upm_cli.testing import Publisher, key_of, trust_file

WINDOW = {"features": {"hour": 9, "sender": "bank.example"}}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "agent") as made:
        yield made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Iterator[Running]:
    """An agent that serves version 1 to everybody; for tests that change nothing."""
    folder = tmp_path_factory.mktemp("served")
    with running(folder / "agent") as made:
        assert made.push(Publisher(folder / "from"), trained.arrays, trained.manifest, version=1).status == 200
        yield made


def send(agent: Running, publisher: Publisher, trained: Trained, number: int = 0, **more: Any) -> Any:
    return agent.push(publisher, trained.variant(number), trained.manifest, version=number + 1, **more)


def test_a_pointer_is_answered_with_what_is_served_then(agent: Running, site: Site) -> None:
    publisher = site.publisher(tenant="acmé")
    got = send(agent, publisher, site.trained)
    pointer, envelope = publisher.sent[-1]
    ack = got.json
    assert (got.status, ack.pop("loaded_at")[-1]) == (200, "Z")
    assert ack == {
        "schema_version": 1,
        "agent": "edge-1",
        "trainer": "main",
        "tenant": "acmé",
        "version": 1,
        "digest": pointer.digest,
        "epoch": 1,
        "serial": 1,
    }
    assert agent.get("/status").json == {"agent": "edge-1", "serving": [got.json]}
    assert agent.get("/status?tenant=acm%C3%A9&trainer=main").json["serving"] == [got.json]
    assert agent.get("/status?tenant=").json["serving"] == []
    assert agent.put_pointer(pointer, envelope).json == got.json


def test_the_adapter_delivers_to_it(agent: Running, site: Site) -> None:
    publisher = site.publisher(tenant="a/b?c=d&e")
    pointer = site.publish(publisher)
    model = site.root / places.model(pointer.digest, pointer.model.codec)
    adapter, clock = HttpAdapter(agent.url, clock=SystemClock()), SystemClock()
    for _ in range(2):
        delivery = Delivery(pointer=pointer, envelope=publisher.sent[-1][1], model=model)
        assert adapter.deliver(delivery, Deadline.after(clock, 30)).confirms(pointer)
    report = adapter.report("main", "a/b?c=d&e", Deadline.after(clock, 30))
    assert report is not None
    assert report.confirms(pointer)
    assert adapter.report("main", "", Deadline.after(clock, 30)) is None


def test_a_pointer_without_its_model_asks_for_it(agent: Running, site: Site) -> None:
    publisher = site.publisher()
    pointer = site.publish(publisher)
    got = agent.put_pointer(pointer, publisher.sent[-1][1])
    assert (got.status, got.code, got.json["digest"]) == (409, "need-model", pointer.digest)
    assert agent.get("/status").json["serving"] == []


def test_a_model_that_was_damaged_on_its_disk_is_asked_for_again(agent: Running, site: Site) -> None:
    publisher = site.publisher()
    pointer = site.publish(publisher)
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()
    agent.put_model(pointer, stored)
    path = agent.options.folder / places.model(pointer.digest, "zstd")
    path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    assert agent.put_pointer(pointer, publisher.sent[-1][1]).code == "need-model"
    assert agent.put_model(pointer, stored).status == 201
    assert agent.put_pointer(pointer, publisher.sent[-1][1]).status == 200


def test_what_is_older_is_refused_with_what_is_served(agent: Running, site: Site) -> None:
    publisher = site.publisher()
    send(agent, publisher, site.trained, 0)
    newer = send(agent, publisher, site.trained, 1)
    older = agent.put_pointer(*publisher.sent[0])
    assert (older.status, older.code, older.json["serving"]) == (409, "older", newer.json)
    fork = publisher.pointer((publisher.sent[0][0].digest, publisher.sent[0][0].model), site.trained.manifest)
    sealed = publisher.sealed(type(fork)(**{**_fields(fork), "place": publisher.sent[1][0].place}))
    assert agent.put_pointer(fork, sealed).code == "older"
    assert agent.get("/status").json["serving"] == [newer.json]


def _fields(pointer: Any) -> dict[str, Any]:
    return {name: getattr(pointer, name) for name in pointer.__slots__}


@pytest.mark.parametrize(
    "what", ["another tenant", "another trainer", "expired", "not an envelope", "not JSON", "empty"]
)
def test_what_is_not_meant_for_it_is_refused(what: str, agent: Running, site: Site) -> None:
    publisher = site.publisher()
    pointer = site.publish(publisher, **({"expires_at_ms": NOW_MS} if what == "expired" else {}))
    envelope = publisher.sent[-1][1]
    agent.put_model(pointer, (site.root / places.model(pointer.digest, "zstd")).read_bytes())
    path = {"another tenant": "/pointers/main?tenant=x", "another trainer": "/pointers/other"}.get(
        what, "/pointers/main"
    )
    body = {"not an envelope": b"{}", "not JSON": b"{", "empty": b""}.get(what, envelope)
    got = agent.request("PUT", path, body, Content_Type="application/json")
    assert (got.status, got.code) == (422, "refused")
    assert agent.get("/status").json["serving"] == []


def test_only_what_trusted_keys_signed_is_taken(tmp_path: Path, site: Site) -> None:
    good, bad = key_of("good"), key_of("bad")
    trust = trust_file(tmp_path / "trust.json", good)
    with running(tmp_path / "agent", trust=trust) as agent:
        assert send(agent, site.publisher(seeds=(bad,)), site.trained).code == "refused"
        publisher = site.publisher(seeds=(good,))
        assert send(agent, publisher, site.trained).status == 200
        trust_file(trust, bad, revoked=(good,))
        refused = send(agent, publisher, site.trained, 1)
        assert (refused.code, refused.json["upm_code"]) == ("refused", "UPM-E133")
        # the ratchet gives way, as the key that signed what it remembers is not believed any more
        assert send(agent, site.publisher(seeds=(bad,)), site.trained, 2).json["version"] == 3


def test_it_goes_on_after_a_restart_with_what_it_had(tmp_path: Path, site: Site) -> None:
    publisher, other = site.publisher(), site.publisher(tenant="acme")
    with running(tmp_path / "agent") as agent:
        send(agent, publisher, site.trained, 0)
        send(agent, other, site.trained, 1)
        first = agent.request("POST", "/predict", {"windows": [WINDOW]}).json["predictions"][0]
        before = agent.get("/status").json
    (tmp_path / "agent/pointers/main/_.json.stray").write_text("{}")
    (tmp_path / "agent/pointers/main/t-1.json").write_text("{}")
    with running(tmp_path / "agent") as agent:
        after = agent.get("/status").json
        assert [_without_time(ack) for ack in after["serving"]] == [_without_time(ack) for ack in before["serving"]]
        again = agent.request("POST", "/predict", {"windows": [WINDOW]}).json["predictions"][0]
        assert again["probability"] == first["probability"]
        assert agent.put_pointer(*publisher.sent[0]).status == 200


def _without_time(ack: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ack.items() if name != "loaded_at"}


def test_predictions_are_bit_for_bit_those_of_upm_predict(
    served: Running,
    trained: Trained,
    messages: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    windows = [{"features": features, "window_id": f"w-{n}"} for n, features in enumerate(messages)]
    (tmp_path / "windows.jsonl").write_text("".join(f"{json.dumps(window)}\n" for window in windows))
    capsys.readouterr()
    assert main(["-C", str(trained.project), "predict", str(tmp_path / "windows.jsonl"), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["predictions"]
    together = served.request("POST", "/predict", {"windows": windows}).json["predictions"]
    alone = [served.request("POST", "/predict", {"windows": [each]}).json["predictions"][0] for each in windows[:20]]
    for found, wanted in ((together, expected), (alone, expected[:20])):
        assert [{name: row[name] for name in wanted[0]} for row in found] == wanted
    assert {row["version"] for row in together} == {1}
    assert len({row["prediction_id"] for row in together}) == len(windows)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad-request"),
        (b"[]", 400, "bad-request"),
        (b'{"windows": [], "windows": []}', 400, "bad-request"),
        (b'{"windows": NaN}', 400, "bad-request"),
        (b'{"windows":' + b"[" * 50_000, 400, "bad-request"),
        ({}, 422, "unfit"),
        ({"windows": []}, 422, "unfit"),
        ({"windows": [WINDOW] * 1001}, 422, "unfit"),
        ({"windows": [WINDOW], "surprise": 1}, 422, "unfit"),
        ({"windows": [{"features": 1}]}, 422, "unfit"),
        ({"windows": [{**WINDOW, "window_id": 7}]}, 422, "unfit"),
        ({"windows": [{**WINDOW, "window_id": ""}]}, 422, "unfit"),
        ({"windows": [{**WINDOW, "label": 1}]}, 422, "unfit"),
        (b'{"windows": [{"features": {"x": 1e999}}]}', 422, "unfit"),
        ({"windows": [WINDOW, {"features": {"x": [[]]}}]}, 422, "unfit"),
        ({"windows": [WINDOW], "tenant": 7}, 422, "unfit"),
        ({"windows": [WINDOW], "tenant": "nobody"}, 404, "nothing-served"),
        ({"windows": [WINDOW], "trainer": "other"}, 404, "nothing-served"),
        ({"windows": [WINDOW], "trainer": "../x"}, 400, "bad-request"),
        ({"windows": [WINDOW], "tenant": "x\x00"}, 404, "nothing-served"),
        ({"windows": [WINDOW], "tenant": "x" * 257}, 400, "bad-request"),
        (b" " * (1 << 20) + b"{}", 413, "too-large"),
    ],
)
def test_what_can_not_be_predicted_is_said(body: Any, status: int, code: str, served: Running) -> None:
    got = served.request("POST", "/predict", body, Content_Type="application/json")
    assert (got.status, got.code) == (status, code), got.body[:300]


def test_without_any_model_it_says_that_it_is_not_ready(agent: Running) -> None:
    for path, body in (("/predict", {"windows": [WINDOW]}), ("/outcome", {"prediction_id": "x", "label": 1})):
        got = agent.request("POST", path, body)
        assert (got.status, got.code, got.headers["retry-after"]) == (503, "not-ready", "1")
    assert (agent.get("/readyz").status, agent.get("/healthz").status) == (503, 200)


def test_several_trainers_have_to_be_named(agent: Running, site: Site) -> None:
    for trainer in ("main", "side"):
        assert send(agent, site.publisher(trainer=trainer), site.trained).status == 200
    assert agent.request("POST", "/predict", {"windows": [WINDOW]}).code == "unfit"
    assert agent.request("POST", "/predict", {"windows": [WINDOW], "trainer": "side"}).status == 200


def test_no_tenant_gets_what_is_meant_for_another(agent: Running, site: Site) -> None:
    send(agent, site.publisher(), site.trained, 0)
    send(agent, site.publisher(tenant="acme"), site.trained, 1)
    answers = {
        tenant: agent.request("POST", "/predict", {"windows": [WINDOW], "tenant": tenant})
        for tenant in ("", "acme", "x")
    }
    assert answers[""].json["predictions"][0]["version"] == 1
    assert answers["acme"].json["predictions"][0]["version"] == 2
    assert answers["x"].code == "nothing-served"


def test_the_log_has_predictions_and_outcomes_and_is_read_from_where_one_left_off(agent: Running, site: Site) -> None:
    send(agent, site.publisher(), site.trained, 0)
    send(agent, site.publisher(tenant="acme"), site.trained, 1)
    first = agent.request("POST", "/predict", {"windows": [WINDOW]}).json["predictions"][0]
    second = agent.request("POST", "/predict", {"windows": [WINDOW] * 2, "tenant": "acme"}).json["predictions"]
    told = {"outcomes": [{"prediction_id": first["prediction_id"], "label": 1, "acted": False}]}
    assert agent.request("POST", "/outcome", told).json == {"taken": 1}
    own = {"prediction_id": second[0]["prediction_id"], "label": True}
    assert agent.request("POST", "/outcome", own).status == 202
    unknown = agent.request("POST", "/outcome", {"prediction_id": "somebody else's", "label": 0})
    assert unknown.status == 202
    begin = agent.get("/feedback?limit=2")
    rest = agent.get(f"/feedback?after={begin.headers['upm-next']}")
    lines = [json.loads(line) for line in (begin.body + rest.body).splitlines()]
    assert begin.body.count(b"\n") == 2
    assert [line["type"] for line in lines] == ["ai.upm.prediction"] * 3 + ["ai.upm.outcome"] * 3
    assert lines[0]["features"] == WINDOW["features"]
    assert (lines[3]["served"]["prediction_id"], lines[3]["acted"]) == (first["prediction_id"], False)
    assert (lines[4]["served"]["version"], lines[4]["served"]["tenant_id"]) == (2, "acme")
    assert "served" not in lines[5]
    end = rest.headers["upm-next"]
    nothing = agent.get(f"/feedback?after={end}")
    assert (nothing.body, nothing.headers["upm-next"]) == (b"", end)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prediction_id": "x"},
        {"prediction_id": 1, "label": 1},
        {"prediction_id": "x", "label": None},
        {"prediction_id": "x", "label": []},
        {"prediction_id": "x", "label": 1, "acted": "yes"},
        {"prediction_id": "x", "label": 1, "more": 1},
        {"prediction_id": "", "label": 1},
        {"outcomes": []},
        {"outcomes": [1]},
        {"outcomes": [{"prediction_id": "x", "label": 1}], "label": 1},
    ],
)
def test_what_is_no_outcome_is_said(body: Any, served: Running) -> None:
    assert served.request("POST", "/outcome", body).code == "unfit"


def test_features_stay_out_of_the_log_when_that_is_asked_for(tmp_path: Path, site: Site) -> None:
    with running(tmp_path / "agent", log_features=False) as agent:
        send(agent, site.publisher(), site.trained)
        agent.request("POST", "/predict", {"windows": [WINDOW, WINDOW]})
        assert b"bank.example" not in agent.get("/feedback").body
        assert agent.get("/feedback").body.count(b"\n") == 2
    assert not [path for path in (tmp_path / "agent").rglob("*") if path.is_file() and b"bank.ex" in path.read_bytes()]


def test_models_and_pointers_can_be_fetched_again(agent: Running, site: Site) -> None:
    publisher = site.publisher(tenant="acme")
    send(agent, publisher, site.trained)
    pointer, envelope = publisher.sent[-1]
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()
    got = agent.get("/pointers/main?tenant=acme")
    assert (got.status, got.body) == (200, envelope)
    assert agent.get("/pointers/main?tenant=acme", If_None_Match=got.headers["etag"]).status == 304
    assert agent.get("/pointers/main").code == "nothing-served"
    path = f"/models/{pointer.digest}"
    whole = agent.get(path)
    assert (whole.status, whole.body, whole.headers["upm-codec"]) == (200, stored, "zstd")
    assert agent.get(path, If_None_Match=f'"x", W/{whole.headers["etag"]}').status == 304
    head = agent.request("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(stored)))
    assert agent.get(f"/models/{'0' * 64}").code == "not-found"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=5-999999999", 5, None),
        ("bytes=-999999999", 0, None),
    ],
)
def test_a_part_of_a_model_can_be_fetched(
    asked: str, first: int, last: int | None, served: Running, trained: Trained
) -> None:
    digest = served.get("/status").json["serving"][0]["digest"]
    whole = served.get(f"/models/{digest}")
    got = served.get(f"/models/{digest}", Range=asked)
    wanted = whole.body[first:] if last is None else whole.body[first : last + 1]
    assert (got.status, got.body) == (206 if wanted != whole.body else 200, wanted)
    other = served.get(f"/models/{digest}", Range=asked, If_Range='"another"')
    assert (other.status, other.body) == (200, whole.body)


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=-0"])
def test_a_part_that_is_not_there_is_said(asked: str, served: Running) -> None:
    digest = served.get("/status").json["serving"][0]["digest"]
    got = served.get(f"/models/{digest}", Range=asked)
    assert (got.status, got.code, got.headers["content-range"][:8]) == (416, "range", "bytes */")


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=1-2,4-5", "lines=1-2", "bytes=-", "bytes=x-"])
def test_what_is_no_single_range_gets_all_of_it(asked: str, served: Running) -> None:
    digest = served.get("/status").json["serving"][0]["digest"]
    assert served.get(f"/models/{digest}", Range=asked).status == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Upm_Codec": "rar"}, "bad-request"),
        ({"Upm_Raw_Bytes": "-1"}, "bad-request"),
        ({"Upm_Raw_Bytes": "many"}, "bad-request"),
        ({"Upm_Raw_Bytes": "99999999999"}, "too-large"),
        ({"Upm_Raw_Bytes": "17"}, "refused"),
        ({"Upm_File_Digest": "x"}, "bad-request"),
        ({"Upm_File_Digest": "0" * 64}, "refused"),
        ({"Upm_Codec": "gzip"}, "refused"),
        ({"Upm_Codec": "none"}, "refused"),
        ({"Content_Type": "text/plain"}, "unsupported-media-type"),
    ],
)
def test_a_model_that_is_not_what_it_says_is_not_kept(
    change: dict[str, str], code: str, agent: Running, site: Site
) -> None:
    pointer = site.publish(site.publisher())
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()
    assert agent.put_model(pointer, stored, **change).code == code
    folder = agent.options.folder / "models"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_model_under_another_digest_is_not_kept(agent: Running, site: Site) -> None:
    publisher = site.publisher()
    one, two = site.publish(publisher, 0), site.publish(publisher, 1)
    stored = (site.root / places.model(two.digest, "zstd")).read_bytes()
    headers = {"Upm_File_Digest": two.model.file_digest, "Upm_Raw_Bytes": str(two.model.raw_bytes)}
    assert agent.put_model(one, stored, **headers).code == "refused"
    assert list((agent.options.folder / "models").iterdir()) == []


def test_a_model_without_a_length_or_that_announces_too_much_is_not_begun(tmp_path: Path, site: Site) -> None:
    from upm_cli.agent.server.options import Limits

    pointer = site.publish(site.publisher())
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()
    with running(tmp_path / "agent", limits=Limits(model_bytes=1000)) as agent:
        assert agent.put_model(pointer, stored).code == "too-large"
        chunked = agent.put_model(pointer, stored, Transfer_Encoding="chunked")
        assert chunked.code in ("length-required", "bad-request")
    assert not (tmp_path / "agent/models").exists()


def test_a_full_disk_is_answered_and_nothing_is_left_behind(
    agent: Running, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = site.publisher()
    send(agent, publisher, site.trained, 0)
    before = agent.get("/status").json
    pointer = site.publish(publisher, 1)
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()

    def full(fd: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fsio.faults, "write", full)
        got = agent.put_model(pointer, stored)
    assert (got.status, got.code, got.json["upm_code"]) == (507, "disk-full", "UPM-E010")
    assert len(list((agent.options.folder / "models").iterdir())) == 1
    assert agent.get("/status").json == before
    assert agent.put_model(pointer, stored).status == 201
    assert agent.put_pointer(pointer, publisher.sent[-1][1]).json["version"] == 2


def test_a_model_that_does_not_fit_is_not_begun(agent: Running, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = site.publish(site.publisher())
    stored = (site.root / places.model(pointer.digest, "zstd")).read_bytes()
    monkeypatch.setattr("upm_cli.agent.server.incoming._SPARE", 1 << 60)
    got = agent.put_model(pointer, stored)
    assert (got.status, got.code) == (507, "disk-full")


def test_readiness_says_when_what_is_served_is_stale(tmp_path: Path, site: Site) -> None:
    clock = ManualClock(NOW_MS)
    with running(tmp_path / "agent", clock=clock) as agent:
        send(agent, site.publisher(), site.trained, expires_at_ms=NOW_MS + 60_000)
        assert agent.get("/readyz").json == {"status": "ok", "serving": 1, "stale": 0, "failing": 0}
        clock.advance(61)
        got = agent.get("/readyz")
        assert (got.status, got.json["status"], got.json["stale"]) == (200, "stale", 1)
        assert 'upm_agent_stale{trainer="main",tenant=""} 1\n' in agent.get("/metrics").body.decode()
        assert agent.request("POST", "/predict", {"windows": [WINDOW]}).status == 200


def test_it_can_fetch_its_models_itself(tmp_path: Path, site: Site) -> None:
    site.publish(site.publisher(tenant="acme"), 0)
    with running(tmp_path / "agent", pull=str(site.root), tenants=("acme",)) as agent:
        body = {"windows": [WINDOW], "tenant": "acme"}
        assert agent.request("POST", "/predict", body).json["predictions"][0]["version"] == 1
        publisher = site.publisher(tenant="acme", serial=5)
        pointer = site.publish(publisher, 1)
        refused = agent.put_pointer(pointer, publisher.sent[-1][1])
        assert (refused.status, refused.code) == (409, "pulls")
        assert agent.put_model(pointer, b"x").code == "pulls"
        agent.fleet.agent("main", "acme").refresh()
        assert agent.request("POST", "/predict", body).json["predictions"][0]["version"] == 2
        assert agent.get(f"/models/{pointer.digest}").status == 200
    assert hashlib.sha256((tmp_path / f"agent/models/{pointer.digest}.zst").read_bytes()).hexdigest() == (
        pointer.model.file_digest
    )

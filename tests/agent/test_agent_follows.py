"""What an agent serves, how that changes, and what it goes on with when something is wrong."""

import base64
import gc
import json
import os
import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli.agent import (
    Agent,
    AgentUsageError,
    DamagedError,
    ForgetfulError,
    NothingToServeError,
    NotTakenError,
    UntrustedError,
)
from upm_cli.clock import SystemClock
from upm_cli.core.delivery import places
from upm_cli.core.delivery.pointer import Place
from upm_cli.store import fsio
from upm_cli.testing import key_of, trust_file

Site = Any
SEEN = "seen/main/_.json"


def test_three_lines_are_enough(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(site.folder / "xdg"))
    site.publish(site.publisher(tenant="acme"))
    with Agent.open(str(site.root), tenant="acme") as agent:
        assert agent.predict({"hour": 9}).version == 1
    assert list((site.folder / "xdg/upm/agents").glob("*/pointers/main/*.json"))


def test_what_is_published_is_served_after_a_refresh_and_said_so(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    assert not agent.refresh()
    pointer = site.publish(publisher, 1)
    assert agent.serving.version == 1, "nothing happens by itself without a thread"
    assert agent.refresh()
    serving = agent.serving
    assert (serving.version, serving.digest, serving.epoch, serving.serial) == (2, pointer.digest, 2, 2)
    assert (serving.trainer, serving.tenant, serving.ring, serving.kind) == ("main", None, "global", "activate")
    assert (serving.loaded_at_ms, serving.is_stale, serving.keyid) == (site.clock.now_ms(), False, None)
    health = agent.health()
    assert (health.is_ok, health.swaps, health.last_error, health.state_error) == (True, 2, None, None)


def test_a_thread_finds_what_is_published(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open(poll_s=0.005, clock=SystemClock())
    site.publish(publisher, 1)
    arrived = threading.Event()
    while agent.serving.version != 2:
        arrived.wait(0.002)
    assert [thread.name for thread in threading.enumerate() if thread.name == "upm-agent"]
    agent.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name == "upm-agent"]


def test_a_thread_does_not_keep_its_agent_alive(site: Site) -> None:
    site.publish(site.publisher())
    agent = Agent.open(site.root, cache=site.folder / "state", poll_s=0.002, log_dir=site.folder / "log")
    agent.predict({})
    thread = next(thread for thread in threading.enumerate() if thread.name == "upm-agent")
    del agent
    thread.join(5)
    assert not thread.is_alive()
    assert len(list((site.folder / "log").glob("*.jsonl"))) == 1, "its log was finished all the same"


def test_a_way_back_needs_nothing_from_the_disk(site: Site) -> None:
    publisher = site.publisher()
    old = site.publish(publisher)
    agent = site.open()
    before = agent.predict({"hour": 9}).decoded
    site.publish(publisher, 1)
    agent.refresh()
    shutil.rmtree(site.root / "models")
    shutil.rmtree(site.folder / "state/models")
    publisher.put_pointer(replace(old, place=Place(3, 3), kind="rollback"))
    assert agent.refresh()
    assert (agent.serving.version, agent.serving.epoch, agent.serving.kind) == (1, 3, "rollback")
    assert agent.predict({"hour": 9}).decoded == before


def test_agents_of_one_process_share_what_they_serve(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    first = site.open()
    shutil.rmtree(site.root / "models")
    second = site.open()
    assert second._follower.served.loaded is first._follower.served.loaded


def test_a_tenant_is_served_its_own_model_and_no_other(site: Site) -> None:
    site.publish(site.publisher(), 0)
    site.publish(site.publisher(tenant="acme"), 1)
    site.publish(site.publisher(tenant="../evil/ümläut"), 2)
    assert [site.open(tenant=t).serving.version for t in (None, "acme", "../evil/ümläut")] == [1, 2, 3]
    with pytest.raises(NothingToServeError, match="no model for tenant other"):
        site.open(tenant="other")


def test_the_only_trainer_needs_no_name_and_of_several_one_is_asked_for(site: Site) -> None:
    site.publish(site.publisher(trainer="first"))
    assert site.open().serving.trainer == "first"
    site.publish(site.publisher(trainer="second"), 1)
    (site.root / "pointers/Not A Name").mkdir()
    (site.root / "pointers/Not A Name/_.json").touch()
    with pytest.raises(AgentUsageError, match="2 trainers") as caught:
        site.open()
    assert 'trainer="first"' in caught.value.hint
    assert site.open(trainer="second").serving.version == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"trainer": "../x"}, "can't name a trainer"),
        ({"name": "Edge 1"}, "can't name a agent"),
        ({"tenant": ""}, "can't name a tenant"),
        ({"tenant": "a\nb"}, "can't name a tenant"),
        ({"poll_s": -1}, "poll_s can't be"),
        ({"token_file": "x"}, "takes no token"),
        ({"location": "ftp://x"}, "neither https nor http"),
        ({"location": "/srv/\0models"}, "is no path"),
        ({"trust": "~nobody-of-that-name/trust.json"}, "is no path"),
    ],
)
def test_a_call_that_can_not_be_right_says_what_is_wrong(site: Site, words: dict[str, Any], why: str) -> None:
    with pytest.raises(AgentUsageError, match=why) as caught:
        site.open(**words)
    assert caught.value.hint


def test_an_agent_may_open_before_there_is_anything(site: Site) -> None:
    agent = site.open(trainer="main", required=False)
    with pytest.raises(NothingToServeError, match="no model to predict with yet"):
        agent.predict({})
    with pytest.raises(NothingToServeError):
        agent.serving  # noqa: B018
    assert (agent.health().is_ok, agent.health().serving) == (False, None)
    site.publish(site.publisher())
    assert agent.refresh()
    assert agent.predict({}).version == 1


def test_a_closed_agent_says_that_it_is(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open(log_dir=site.folder / "log")
    agent.close()
    agent.close()
    for call in (
        lambda: agent.predict({}),
        lambda: agent.predict_many([]),
        lambda: agent.report("x", 1),
        agent.refresh,
        lambda: agent.take(b""),
    ):
        with pytest.raises(AgentUsageError, match="closed"):
            call()


# What goes wrong


def test_whatever_is_wrong_with_the_new_one_the_old_one_is_served_and_health_tells_since_when(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    publisher.put_envelope(b"{}")
    assert not agent.refresh()
    since_ms = site.clock.now_ms()
    site.clock.advance(60)
    assert not agent.refresh()
    problem = agent.health().last_error
    assert (problem.code, problem.since_ms) == ("UPM-E134", since_ms)
    assert problem.message
    assert not agent.health().is_ok
    assert agent.predict({}).version == 1
    (site.root / places.pointer("main", "")).unlink()
    agent.refresh()
    assert agent.health().last_error.code == "UPM-E131"
    site.publish(publisher, 1)
    assert agent.refresh()
    assert agent.health().is_ok


def test_what_failed_is_tried_again_later_each_time_and_at_once_when_something_changes(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    pointer = site.publish(publisher, 1)
    model = site.root / places.model(pointer.digest, "zstd")
    whole = model.read_bytes()
    model.unlink()
    tries = []
    for second in range(190):
        before = agent._follower._failures
        agent._follower.look()
        if agent._follower._failures != before:
            tries.append(second)
        site.clock.advance(1)
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    model.write_bytes(whole)
    assert not agent._follower.look()
    publisher.put_pointer(replace(pointer, place=Place(9, 9)))
    assert agent._follower.look()
    assert agent.serving.version == 2


def test_a_pointer_that_expires_while_nothing_newer_comes_makes_an_agent_stale(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher, expires_at_ms=site.clock.now_ms() + 10_000)
    agent = site.open()
    assert agent.health().is_ok
    site.clock.advance(10)
    assert agent.serving.is_stale
    assert (agent.health().is_ok, agent.health().is_stale) == (False, True)
    assert agent.predict({}).version == 1, "it goes on, and says so"
    again = site.open()
    assert again.serving.is_stale, "after a start it may go on with what it had"
    site.publish(publisher, 1, expires_at_ms=site.clock.now_ms() + 10_000)
    assert agent.refresh()
    assert agent.health().is_ok


# The next start


def test_an_agent_that_starts_without_its_directory_serves_what_it_served(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    site.publish(publisher, 1)
    site.open().close()
    shutil.rmtree(site.root)
    agent = site.open(trainer="main")
    assert agent.serving.version == 2
    assert agent.health().last_error.code == "UPM-E131"
    assert site.open().serving.version == 2, "the trainer is known from before, too"


def test_a_start_goes_back_to_the_last_good_one_when_the_newest_is_broken_everywhere(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    newest = site.publish(publisher, 1)
    agent.refresh()
    agent.close()
    del agent
    site.agents.clear()
    for folder in (site.root, site.folder / "state"):
        path = folder / places.model(newest.digest, "zstd")
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    agent = site.open()
    assert agent.serving.version == 1
    assert agent.health().last_error.code == "UPM-E134"


def test_what_was_rolled_back_from_is_never_the_last_good_one(site: Site) -> None:
    publisher = site.publisher()
    good = site.publish(publisher, 0)
    agent = site.open()
    site.publish(publisher, 1)
    agent.refresh()
    publisher.put_pointer(replace(good, place=Place(9, 9), kind="rollback"))
    agent.refresh()
    kept = [json.loads(data) for data in agent._follower._state.kept("main", "")]
    assert len(kept) == 2
    versions = [json.loads(base64.b64decode(each["payload"]))["version"] for each in kept]
    assert versions == [1, 1]
    site.publish(publisher, 2, kind="rollback", place=Place(10, 10))
    agent.refresh()
    assert len(list(agent._follower._state.kept("main", ""))) == 1


def test_models_that_nobody_needs_any_more_are_removed_from_the_state_when_they_are_old(site: Site) -> None:
    site.clock = SystemClock()
    publisher, models = site.publisher(), site.folder / "state/models"
    agent = None
    for number in range(4):
        site.publish(publisher, number)
        agent = agent or site.open()
        agent.refresh()
    assert len(list(models.iterdir())) == 4, "somebody may be about to use a young one"
    for path in models.iterdir():
        os.utime(path, (0, 0))
    site.publish(publisher, 4)
    agent.refresh()
    kept = {path.name.partition(".")[0] for path in models.iterdir()}
    assert kept == {pointer.digest for pointer, _ in publisher.sent[-2:]}


def test_a_model_that_was_damaged_in_the_state_is_kept_anew(site: Site) -> None:
    publisher = site.publisher()
    pointer = site.publish(publisher)
    site.open().close()
    path = site.folder / "state" / places.model(pointer.digest, "zstd")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    (site.folder / "state" / SEEN).unlink()
    site.open()
    assert path.read_bytes() == whole


def test_everything_kept_is_private(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open(log_dir=site.folder / "log")
    agent.predict({})
    agent.close()
    for top in (site.folder / "state", site.folder / "log"):
        for path in (top, *top.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_without_a_place_to_remember_it_serves_and_says_what_is_missing(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    (site.folder / "file").touch()
    agent = site.open(cache=site.folder / "file" / "state")
    assert agent.predict({}).version == 1
    health = agent.health()
    assert not health.is_ok
    assert (health.last_error, health.state_error is None) == (None, False)
    old = publisher.sent[0][1]
    site.publish(publisher, 1)
    assert agent.refresh()
    publisher.put_envelope(old)
    agent.refresh()
    assert agent.serving.version == 2, "it remembers for as long as it lives"


def test_a_full_disk_does_not_hold_up_a_way_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = site.publisher()
    old = site.publish(publisher)
    site.publish(publisher, 1)
    agent = site.open()

    def full(operation: str, path: Path) -> None:
        raise OSError(28, "No space left on device")

    publisher.put_pointer(replace(old, place=Place(3, 3), kind="rollback"))
    monkeypatch.setattr(fsio.faults, "before", full)
    assert agent.refresh()
    assert agent.serving.version == 1
    assert agent.health().state_error.code == "UPM-E010"
    since_ms = agent.health().state_error.since_ms
    site.clock.advance(5)
    agent.refresh()
    assert agent.health().state_error.since_ms == since_ms
    monkeypatch.setattr(fsio.faults, "before", None)
    agent.refresh()
    assert agent.health().is_ok
    assert b'"serial":3' in (site.folder / "state" / SEEN).read_bytes()


# Memory


def test_a_damaged_memory_takes_nothing_and_serves_what_was_kept(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    site.open().close()
    seen = site.folder / "state" / SEEN
    data = bytearray(seen.read_bytes())
    data[20] ^= 1
    seen.write_bytes(bytes(data))
    site.publish(publisher, 1)
    agent = site.open()
    assert agent.serving.version == 1
    problem = agent.health().last_error
    assert problem.code == "UPM-E136"
    assert str(seen) in problem.hint
    shutil.rmtree(site.folder / "state/pointers")
    with pytest.raises(ForgetfulError, match="the memory"):
        site.open()
    seen.unlink()
    assert site.open().serving.version == 2


def test_a_memory_that_others_moved_on_counts_for_all(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    behind, ahead = site.open(), site.open()
    middle = site.publish(publisher, 1)
    kept = publisher.sent[-1][1]
    site.publish(publisher, 2)
    ahead.refresh()
    publisher.put_envelope(kept)
    behind.refresh()
    assert behind.serving.version == 1
    assert behind.health().last_error.code == "UPM-E132"
    assert middle.version == 2


def test_what_another_process_was_faster_to_take_is_looked_at_once_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    late, early = site.open(), site.open()
    site.publish(publisher, 1)
    second = publisher.sent[-1][1]
    site.publish(publisher, 2)
    early.refresh()
    fetch, just_read = late._follower._origin.fetch, iter([second])
    monkeypatch.setattr(late._follower._origin, "fetch", lambda: next(just_read, None) or fetch())
    assert late.refresh()
    assert (late.serving.version, late.health().is_ok) == (3, True)


def test_a_process_that_comes_late_does_not_lower_what_is_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    late, early = site.open(), site.open()
    second = publisher.sealed(site.prepare(publisher, 1))
    site.publish(publisher, 2)
    early.refresh()
    kept = {path: path.read_bytes() for path in sorted((site.folder / "state").rglob("*.json"))}
    recall, when_it_decides = late._follower._state.recall, iter([None])  # before the early one was done
    monkeypatch.setattr(late._follower._state, "recall", lambda *names: next(when_it_decides, recall(*names)))
    assert late.take(second).version == 2
    assert {path: path.read_bytes() for path in sorted((site.folder / "state").rglob("*.json"))} == kept
    assert late.health().is_ok


def test_a_lock_that_somebody_holds_is_waited_for_and_then_told(site: Site) -> None:
    import fcntl

    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    with (site.folder / "state/lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        site.publish(publisher, 1)
        assert agent.refresh()
        assert "another process holds" in agent.health().state_error.message
    agent.refresh()
    assert agent.health().is_ok


# Trust


def test_the_trust_file_is_read_again_when_it_changes(site: Site) -> None:
    old, new = key_of("old"), key_of("new")
    trust = trust_file(site.folder / "trust.json", old)
    publisher = site.publisher(seeds=(old,))
    site.publish(publisher)
    agent = site.open(trust=trust)
    assert agent.serving.keyid
    publisher.seeds = (new,)
    site.publish(publisher, 1)
    agent.refresh()
    assert (agent.serving.version, agent.health().last_error.code) == (1, "UPM-E133")
    trust_file(trust, new, revoked=(old,))
    assert agent._follower.look()
    assert (agent.serving.version, agent.health().is_ok) == (2, True)


def test_a_key_that_is_revoked_is_told_and_what_it_signed_stays_until_something_better_comes(site: Site) -> None:
    old, new = key_of("old"), key_of("new")
    trust = trust_file(site.folder / "trust.json", old)
    publisher = site.publisher(seeds=(old,))
    pointer = site.publish(publisher)
    agent = site.open(trust=trust)
    trust_file(trust, new, revoked=(old,))
    assert not agent._follower.look()
    assert (agent.predict({}).version, agent.health().last_error.code) == (1, "UPM-E133")
    publisher.seeds = (new,)
    again = publisher.pointer((pointer.digest, pointer.model), {**site.trained.manifest, "trainer": "main"})
    publisher.put_pointer(replace(again, place=pointer.place))
    assert agent.refresh()
    assert agent.health().is_ok
    assert json.loads((site.folder / "state" / SEEN).read_bytes())["keyid"] == agent.serving.keyid


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 10])
def test_without_a_trust_file_that_can_be_read_nobody_is_believed(site: Site, content: bytes | None) -> None:
    publisher = site.publisher(seeds=(key_of("a"),))
    site.publish(publisher)
    trust = trust_file(site.folder / "trust.json", key_of("a"))
    agent = site.open(trust=trust)
    if content is None:
        trust.unlink()
    else:
        trust.write_bytes(content)
    site.publish(publisher, 1)
    agent.refresh()
    assert (agent.serving.version, agent.health().last_error.code) == (1, "UPM-E133")
    with pytest.raises(UntrustedError, match="trust file"):
        site.open(trust=trust)


def test_the_snapshot_must_be_signed_too(site: Site) -> None:
    publisher = site.publisher(seeds=(key_of("a"),))
    trust = trust_file(site.folder / "trust.json", key_of("a"))
    site.publish(publisher, snapshot_signatures=())
    with pytest.raises(UntrustedError, match="the snapshot main@1 is not signed by a trusted key"):
        site.open(trust=trust)
    other = site.publish(publisher, 1).snapshot_signatures
    site.publish(publisher, 2, snapshot_signatures=other)
    with pytest.raises(UntrustedError, match="main@3"):
        site.open(trust=trust)
    assert site.open().serving.version == 3, "without trust nobody looks"


def test_without_the_package_that_verifies_nothing_is_believed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    trust = trust_file(site.folder / "trust.json", key_of("a"))
    site.publish(site.publisher(seeds=(key_of("a"),)))
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UntrustedError, match="cryptography") as caught:
        site.open(trust=trust)
    assert "pip install" in caught.value.hint


def test_a_trust_file_that_anybody_may_write_to_is_believed_by_nobody(site: Site) -> None:
    trust = trust_file(site.folder / "trust.json", key_of("a"))
    trust.chmod(0o666)
    site.publish(site.publisher(seeds=(key_of("a"),)))
    with pytest.raises(UntrustedError, match="anybody may write") as caught:
        site.open(trust=trust)
    assert caught.value.hint.startswith("chmod")


# Whoever receives pointers for an agent


def test_a_pointer_can_be_handed_over(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open(cache=site.root)
    first = publisher.sent[0][1]
    data = publisher.sealed(site.prepare(publisher, 1))
    assert agent.take(data).version == 2
    assert (site.root / places.pointer("main", "")).read_bytes() == data, "the directory is its own"
    assert agent.take(data).version == 2
    with pytest.raises(NotTakenError) as caught:
        agent.take(first)
    assert caught.value.context == {"took": "older"}
    with pytest.raises(DamagedError):
        agent.take(b"x")
    assert agent.serving.version == 2
    assert agent.health().is_ok


def test_only_what_is_served_and_the_one_before_stay_in_memory_whatever_fails(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher, 20)
    gc.collect()
    gc.disable()
    try:
        agent = site.open()
        first = weakref.ref(agent._follower.served.loaded)
        publisher.put_envelope(b"broken")
        agent.refresh()
        for number in (21, 22):
            site.publish(publisher, number)
            assert agent.refresh()
        assert first() is None
        last = weakref.ref(agent._follower.served.loaded)
        agent.close()
        assert last() is None
    finally:
        gc.enable()

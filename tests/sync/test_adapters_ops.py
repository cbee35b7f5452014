"""Adapters as a whole: what can be added, how they are shown, proven, tried again, let down, and kept from deletion."""

import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import World, agent_row, directory_row

from upm_cli import actors
from upm_cli.adapters.base import DeliveryError, Failure
from upm_cli.adapters.kinds import Kinds
from upm_cli.core.delivery.memo import Memo
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.delivery.ratchet import Took
from upm_cli.core.records import Adapter, AdapterStatus, Trainer
from upm_cli.core.retention import RetentionPolicy
from upm_cli.errors import IntegrityError, NotFoundError, RefusedError, UpmError, UsageError
from upm_cli.ops import adapter_view, adapters, sync_run, sync_steer, sync_verify, trainers
from upm_cli.ops.adapters import Wanted
from upm_cli.ops.keeping import collect_garbage
from upm_cli.ops.sync_lease import take_lease
from upm_cli.store import adapters as rows
from upm_cli.store import history, ledger
from upm_cli.store import trainers as trainer_rows
from upm_cli.store.session import Store

ME = actors.current()


@pytest.fixture(autouse=True)
def http_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind http as another part of upm has it: what a URL and a token are is checked there."""
    agents: Any = types.ModuleType("upm_cli.adapters.http")
    agents.check_url = lambda text, allow_hosts: _url(text)
    agents.HttpAdapter = lambda url, **more: (url, more)
    tokens: Any = types.ModuleType("upm_cli.safehttp.tokens")
    tokens.read_token = lambda path: path.read_text()
    monkeypatch.setitem(sys.modules, "upm_cli.adapters.http", agents)
    monkeypatch.setitem(sys.modules, "upm_cli.safehttp.tokens", tokens)


def _url(text: str) -> str:
    if not text.startswith("https://"):
        raise UsageError(f"{text} is no https URL")
    return text


def add(world: World, key: str = "edge", **wanted: Any) -> adapters.Added:
    dry_run = wanted.pop("dry_run", False)
    asked = Wanted(key=key, **{"trainer": "main", **wanted})
    return adapters.add(world.store, world.clock, world.settings, asked, actor=ME, reason="test", dry_run=dry_run)


def refused(error: type[UpmError], code: str, world: World, key: str = "edge", **wanted: Any) -> UpmError:
    before = world.rows()
    with pytest.raises(error) as caught:
        add(world, key, **wanted)
    assert caught.value.code == code
    assert caught.value.hint
    assert world.rows() == before
    return caught.value


def actions(world: World) -> list[str]:
    return [entry["action"] for entry in ledger.read(world.home)]


def test_a_directory_is_made_and_added_once_for_each_tenant(world: World, tmp_path: Path) -> None:
    place = tmp_path / "models"
    planned = add(world, path=place, dry_run=True)
    assert (len(planned.new), place.exists(), world.rows()) == (1, False, {})
    done = add(world, path=place, tenants=("acme", "bob", "acme"))
    assert [row.tenant_id for row in done.new] == ["acme", "bob"]
    assert place.is_dir()
    again = add(world, path=place, tenants=("acme",))
    assert (again.new, [row.tenant_id for row in again.rows]) == ((), ["acme"])
    more = add(world, path=place, tenants=("", "acme"))
    assert [row.tenant_id for row in more.new] == [""]
    assert sorted(world.rows()) == ["edge", "edge/acme", "edge/bob"]
    assert actions(world).count("adapter.add") == 2


def test_an_agent_is_added_with_its_token_in_a_file(world: World, tmp_path: Path) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.pem"
    token.write_text("secret")
    token.chmod(0o600)
    ca.write_text("certificate")
    (row,) = add(world, url="https://a.example:8765/", token_file=token, ca_file=ca).new
    assert (row.kind, row.location) == ("http", "https://a.example:8765")
    assert row.metadata == {"token_file": str(token), "ca_file": str(ca)}
    opened: Any = Kinds(world.clock).open_adapter(row, world.settings, world.clock)
    assert opened == (
        "https://a.example:8765",
        {"token_file": token, "ca_file": ca, "allow_hosts": (), "clock": world.clock},
    )
    assert "secret" not in str(ledger.read(world.home))


def test_what_can_not_be_an_adapter_is_refused(world: World, tmp_path: Path) -> None:
    token, wide, empty = tmp_path / "token", tmp_path / "wide", tmp_path / "empty"
    for path, text, mode in ((token, "secret", 0o600), (wide, "secret", 0o644), (empty, "", 0o600)):
        path.write_text(text)
        path.chmod(mode)
    url = "https://a"
    place = tmp_path / "models"
    refused(UsageError, "UPM-E121", world)
    refused(UsageError, "UPM-E121", world, path=place, url=url, token_file=token)
    refused(UsageError, "UPM-E121", world, path=place, token_file=token)
    refused(UsageError, "UPM-E121", world, url=url)
    refused(UsageError, "UPM-E121", world, url=url, token_file=tmp_path / "none")
    refused(UsageError, "UPM-E121", world, url=url, token_file=empty)
    refused(UsageError, "UPM-E121", world, url=url, token_file=tmp_path)
    refused(IntegrityError, "UPM-E123", world, url=url, token_file=wide)
    refused(UsageError, "UPM-E021", world, "Bad Name", path=place)
    refused(UsageError, "UPM-E021", world, path=place, tenants=("a\nb",))
    refused(UsageError, "UPM-E021", world, path=place, tenants=("x" * 257,))
    refused(UsageError, "UPM-E121", world, path=token)
    refused(UsageError, "UPM-E121", world, path=world.home / "models")
    refused(UsageError, "UPM-E121", world, path=tmp_path / "a\x1bb")


def test_a_directory_that_others_could_change_is_refused(world: World, tmp_path: Path) -> None:
    place = tmp_path / "above" / "models"
    place.mkdir(parents=True)
    place.chmod(0o777)
    refused(IntegrityError, "UPM-E123", world, path=place)
    place.chmod(0o755)
    place.parent.chmod(0o777)
    error = refused(IntegrityError, "UPM-E123", world, path=place)
    assert error.context["path"] == str(place.parent)
    place.parent.chmod(0o1777)  # as /tmp
    place.chmod(0o775)
    (warning,) = add(world, path=place).warnings
    assert "its group may write it" in warning


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give folders away")
def test_a_directory_that_belongs_to_somebody_else_is_refused(world: World, tmp_path: Path) -> None:
    place = tmp_path / "above" / "models"
    place.mkdir(parents=True)
    os.chown(place, 65534, 65534)
    refused(IntegrityError, "UPM-E123", world, path=place)
    os.chown(place, 0, 0)
    os.chown(place.parent, 65534, 65534)
    refused(IntegrityError, "UPM-E123", world, path=place)


def test_a_key_keeps_its_place_and_a_pointer_has_one_writer(world: World, tmp_path: Path) -> None:
    place, link = tmp_path / "models", tmp_path / "link"
    add(world, path=place, tenants=("acme",))
    link.symlink_to(place)
    refused(UsageError, "UPM-E121", world, path=tmp_path / "other")
    refused(UsageError, "UPM-E121", world, path=place, trainer="second")
    other = refused(UsageError, "UPM-E121", world, "twin", path=link, tenants=("acme",))
    assert "adapter edge hands models of main for tenant acme" in other.message
    add(world, "twin", path=link, tenants=("bob",))
    add(world, "third", path=place, tenants=("acme",), trainer="second")
    tokens = [tmp_path / "one", tmp_path / "two"]
    for token in tokens:
        token.write_text("secret")
        token.chmod(0o600)
    add(world, "agent", url="https://a", token_file=tokens[0])
    refused(UsageError, "UPM-E121", world, "agent", url="https://a", token_file=tokens[1], tenants=("acme",))


def test_only_operators_add_remove_and_retry_and_only_admins_lower(world: World, tmp_path: Path) -> None:
    from upm_cli.config.schema import PolicySettings

    add(world, path=tmp_path / "models")
    world.more = {"policy": PolicySettings(actors={ME: "viewer"})}
    refused(RefusedError, "UPM-E051", world, "other", path=tmp_path / "other")
    store, clock, settings = world.store, world.clock, world.settings
    with pytest.raises(RefusedError):
        adapters.remove(store, settings, "edge", actor=ME)
    with pytest.raises(RefusedError):
        sync_steer.retry(store, clock, settings, actor=ME)
    world.more = {"policy": PolicySettings(actors={ME: "operator"})}
    assert sync_steer.retry(store, clock, world.settings, actor=ME) == []
    with pytest.raises(RefusedError):
        sync_steer.let_down(store, clock, world.settings, actor=ME, reason="restored")


def test_an_adapter_is_removed_as_a_whole_or_a_tenant_at_a_time(world: World, tmp_path: Path) -> None:
    place = tmp_path / "models"
    add(world, path=place, tenants=("a", "b", "c"))

    def remove(*tenants: str, **more: Any) -> list[str]:
        gone = adapters.remove(world.store, world.settings, "edge", tenants=tenants, actor=ME, **more)
        return [row.tenant_id for row in gone]

    assert remove(dry_run=True) == ["a", "b", "c"]
    assert remove("b") == ["b"]
    with pytest.raises(NotFoundError, match="no tenant 'b'"):
        remove("b")
    assert sorted(world.rows()) == ["edge/a", "edge/c"]
    assert remove() == ["a", "c"]
    with pytest.raises(NotFoundError, match="no adapter 'edge'"):
        remove()
    assert place.is_dir()
    assert actions(world).count("adapter.remove") == 2


def test_a_trainer_whose_models_are_handed_out_is_not_removed(world: World, tmp_path: Path) -> None:
    with world.store.write() as tx:
        trainer_rows.put(tx, Trainer(name="second", stream="second"))
    add(world, path=tmp_path / "models", trainer="second")
    with pytest.raises(RefusedError, match="handed to 1 adapters: edge"):
        trainers.remove(world.store, "second", actor=ME, reason="x")


def test_the_overview_shows_all_worst_first(world: World) -> None:
    world.learn(2)
    world.serve(1)
    world.add_agents(3)
    world.settle()
    world.serve(2)
    world.network.down = lambda key: DeliveryError(Failure.REFUSED, "no") if key == "edge-0002" else None
    world.settle()
    world.add(agent_row("zz", "acme"))
    with world.store.read() as reader:
        found = adapter_view.overview(reader, world.settings, world.clock.now_ms())
    assert (found["total"], found["by_status"]) == (4, {"pending": 1, "syncing": 0, "synced": 2, "errored": 1})
    assert [row["adapter_key"] for row in found["adapters"]] == ["edge-0002", "zz", "edge-0000", "edge-0001"]
    bad = found["adapters"][0]
    assert (bad["version"], bad["desired_version"], bad["lag_versions"], bad["last_error"]) == (1, 2, 1, "no")
    assert found["adapters"][1]["lag_versions"] is None
    rate = found["success_rate"]
    assert (rate["ok"], rate["attempts"], rate["value"], rate["met"]) == (5, 6, 5 / 6, False)
    assert adapter_view.problems(found) == [
        {"trainer": "main", "problem": "adapter edge-0002 errored: no", "next": "upm sync status"}
    ]


def test_versions_that_adapters_have_or_should_have_are_not_deleted(world: World) -> None:
    world.learn(5)
    world.add_agents(2)
    world.serve(2)
    world.settle()
    for version in (3, 4, 5):
        world.serve(version)
    world.network.down = lambda key: DeliveryError(Failure.REFUSED, "no") if key == "edge-0000" else None
    world.settle()
    world.clock.advance(100 * 86_400)
    done = collect_garbage(
        world.store, world.clock, ["main"], RetentionPolicy(keep=0, keep_days=0), actor=ME, dry_run=True
    )
    assert 2 not in done.deleted["main"]
    assert done.protected["main"][2] == "handed to adapter edge-0000"
    with world.store.write() as tx:
        rows.remove(tx, "edge-0000", "")
    done = collect_garbage(
        world.store, world.clock, ["main"], RetentionPolicy(keep=0, keep_days=0), actor=ME, dry_run=True
    )
    assert 2 in done.deleted["main"]


def verdicts(world: World, key: str | None = None) -> dict[str, str]:
    found = sync_verify.verify(world.store, world.clock, world.settings, key, kinds=world.network)
    return {each.row.adapter_key: each.verdict for each in found}


def test_verifying_asks_every_place_what_it_serves_now(world: World) -> None:
    world.learn(2)
    world.add_agents(4)
    assert set(verdicts(world).values()) == {"nothing"}
    world.serve(1)
    world.settle()
    assert set(verdicts(world).values()) == {"ok"}
    world.network.agent("edge-0001").serving = None
    agent = world.network.agent("edge-0002")
    assert agent.serving is not None
    agent.serving = replace(agent.serving, version=2, digest="e" * 64)
    world.network.down = lambda key: DeliveryError(Failure.TIMEOUT, "silence") if key == "edge-0003" else None
    assert verdicts(world) == {
        "edge-0000": "ok",
        "edge-0001": "differs",
        "edge-0002": "differs",
        "edge-0003": "unreachable",
    }
    assert verdicts(world, "edge-0000") == {"edge-0000": "ok"}
    with pytest.raises(NotFoundError):
        verdicts(world, "nobody")
    shown = [sync_verify.as_json(each) for each in sync_verify.verify(world.store, world.clock, world.settings)]
    assert {row["verdict"] for row in shown} == {"unreachable"}  # these places are simulated


def test_retrying_makes_what_was_given_up_pending_now(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(3)
    world.network.down = lambda key: DeliveryError(Failure.REFUSED, "token") if key != "edge-0000" else None
    syncer = world.settle()
    store, clock, settings = world.store, world.clock, world.settings
    assert len(sync_steer.retry(store, clock, settings, actor=ME, dry_run=True)) == 2
    assert world.statuses() == {"errored": 2, "synced": 1}
    assert len(sync_steer.retry(store, clock, settings, "edge-0001", actor=ME)) == 1
    assert (world.row("edge-0001").status, world.row("edge-0001").attempts) == (AdapterStatus.PENDING, 0)
    world.network.down = lambda key: None
    world.settle(syncer)
    assert world.statuses() == {"errored": 1, "synced": 2}
    with pytest.raises(NotFoundError):
        sync_steer.retry(store, clock, settings, "nobody", actor=ME)
    assert actions(world).count("adapter.retry") == 1


def test_agents_ahead_of_a_restored_state_are_let_down_by_an_admin(world: World) -> None:
    world.learn(2)
    world.add_agents(3)
    world.serve(1)
    world.settle()
    generation = history.states(world.home)[-1]
    backup = (world.home / "state.duckdb").read_bytes()
    for version in (2, 1, 2):
        world.serve(version)
    world.settle()
    assert {agent.serving.place.epoch for agent in world.network.agents.values() if agent.serving} == {4}
    world.store.close()
    (world.home / "state.duckdb").write_bytes(backup)  # somebody put back an old file
    world.store = Store(world.home, world.clock)
    assert generation
    world.network.agents.pop(("edge-0002", ""))  # and this agent is new
    world.clock.advance(3600)
    syncer = world.syncer()
    for _ in range(14):
        syncer.step(0, looks=True)
        world.clock.advance(5)
    syncer.finish(0)
    stuck = world.row("edge-0000")
    assert (stuck.status, stuck.acked_version) == (AdapterStatus.ERRORED, 1)
    assert "--lower-epoch" in (stuck.last_error or "")
    assert world.row("edge-0002").status is AdapterStatus.SYNCED
    store, clock, settings = world.store, world.clock, world.settings
    world.network.agents.pop(("edge-0001", ""))  # set up anew: it has nothing to step down from
    for _ in range(14):
        syncer.step(0, looks=True)
        world.clock.advance(5)
    syncer.finish(0)
    assert world.row("edge-0001").status is AdapterStatus.SYNCED
    with pytest.raises(UsageError):
        sync_steer.let_down(store, clock, settings, actor=ME, reason=" ", kinds=world.network)
    planned = sync_steer.let_down(
        store, clock, settings, actor=ME, reason="restored", kinds=world.network, dry_run=True
    )
    assert [(each.row.adapter_key, each.seen.epoch) for each in planned] == [("edge-0000", 4)]
    assert "adapter.lower" not in actions(world)
    sync_steer.let_down(store, clock, settings, actor=ME, reason="restored", kinds=world.network)
    world.settle(syncer)
    assert world.statuses() == {"synced": 3}
    agent = world.network.agent("edge-0000")
    assert agent.serving is not None
    assert (agent.serving.version, agent.serving.place.epoch, agent.served[-1][1]) == (1, 1, Took.LOWERED)
    assert Memo.of(world.row("edge-0000")).lowers == Place(4, agent.serving.lowers_from.serial)  # type: ignore[union-attr]
    assert actions(world)[-1] == "adapter.lower"
    assert sync_steer.let_down(store, clock, settings, actor=ME, reason="again", kinds=world.network) == []


def test_a_pass_delivers_to_directories_and_says_who_did_not_get_it(world: World, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(directory_row("good", tmp_path / "good"), directory_row("bad", tmp_path / "bad"))
    (tmp_path / "bad").chmod(0o777)
    told: list[tuple[int, int]] = []
    ran = run(world, show=lambda *given: told.append(given))
    assert (ran.confirmed, ran.errored, ran.pending, ran.by_other, ran.timed_out) == (1, 1, 0, False, False)
    assert [row.adapter_key for row in ran.left] == ["bad"]
    assert told[-1] == (1, 2)
    (tmp_path / "bad").chmod(0o755)
    sync_steer.retry(world.store, world.clock, world.settings, actor=ME)
    assert [row.adapter_key for row in sync_run.to_send(world.store, world.clock, world.settings)] == ["bad"]
    assert run(world).left == []


def run(world: World, **more: Any) -> sync_run.Ran:
    return sync_run.run_pass(world.store, world.clock, world.settings, command="test", **more)


def test_a_pass_waits_only_for_the_trainers_it_is_about_and_only_so_long(world: World, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(
        directory_row("good", tmp_path / "good"),
        directory_row("none", tmp_path / "none", trainer="second"),
    )
    ran = run(world, trainers=("main",))
    assert [row.adapter_key for row in ran.rows] == ["good"]
    assert run(world, trainers=("second",)).waiting == 1
    assert run(world, within_s=-1).timed_out


def test_a_pass_waits_for_the_process_that_delivers_already(world: World, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(directory_row("edge", tmp_path / "edge"))
    with take_lease(world.store, "another worker"):
        late = run(world, within_s=1.0)
        assert (late.by_other, late.timed_out, late.pending, len(late.left)) == (True, True, 1, 1)
    run(world)
    with take_lease(world.store, "another worker"):
        done = run(world, within_s=1.0)
        assert (done.by_other, done.timed_out, done.confirmed) == (True, False, 1)


def test_an_unknown_kind_and_a_missing_one_say_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: Adapter = agent_row("odd", kind="carrier-pigeon")
    with pytest.raises(UsageError, match="no kind of adapter"):
        Kinds(world.clock).open_adapter(odd, world.settings, world.clock)
    monkeypatch.setitem(sys.modules, "upm_cli.adapters.http", None)
    with pytest.raises(UsageError, match="no adapters of kind http"):
        Kinds(world.clock).open_adapter(agent_row("edge"), world.settings, world.clock)
    world.serve(world.learn())
    world.add_agents(1)
    world.settle(world.syncer(kinds=Kinds(world.clock)))
    assert "no adapters of kind http" in (world.row("edge-0000").last_error or "")

"""Many agents behind a bad network: all come to the right model, and none ever serves anything else."""

import random

import pytest
from simulated import Agent, World

from upm_cli.config.schema import AdapterSyncSettings
from upm_cli.core.delivery.machine import place
from upm_cli.core.delivery.ratchet import Took
from upm_cli.ops.rollback import rollback
from upm_cli.store import snapshots


@pytest.mark.parametrize("seed", [1, 2])
def test_agents_converge_although_messages_are_lost_hurt_repeated_and_late(world: World, seed: int) -> None:
    converge_through_trouble(world, 150, seed)


def converge_through_trouble(world: World, count: int, seed: int) -> None:
    """10 % dropped (half of them after they arrived), 5 % corrupted, 5 % repeated, 5 % late and out of order.

    benchmarks/delivery.py does the same with a thousand.
    """
    world.sync = AdapterSyncSettings(retry_backoff_ms=200, max_backoff_ms=2000, sync_batch_size=300)
    network = world.network
    network.chance = random.Random(seed)
    network.dropped, network.corrupted, network.repeated, network.delayed = 0.10, 0.05, 0.05, 0.05
    world.learn(2)
    world.add_agents(count)
    world.serve(1)
    syncer = world.syncer(seed)
    syncer.step(0)
    world.serve(2)  # before everybody has the first one
    world.clock.advance(0.5)
    for _ in range(3):
        syncer.step(0)
        world.clock.advance(0.1)
    syncer = world.syncer(seed + 1)  # killed, with deliveries under way: another process goes on
    rollback(world.store, world.clock, "main", actor="me", reason="worse")
    world.settle(syncer, within_s=60)
    assert network.were_late > count / 50, "hardly anything was late: the test tells nothing"
    while network.late:
        network.arrive_late()
    converge(world)
    with world.store.read() as reader:
        digests = {version: snapshots.get(reader, "main", version).digest for version in (1, 2)}
    for agent in network.agents.values():
        check(agent, digests)
    assert len(network.agents) == count
    assert world.statuses() == {"synced": count}
    for row in world.rows().values():
        served = network.agents[row.adapter_key, ""].serving
        assert served is not None
        assert (served.place, served.version, served.digest) == (place(row), 1, row.acked_digest)


def converge(world: World) -> None:
    """Let time pass until nothing is pending; those that were given up are tried now and then."""
    syncer = world.syncer(7)
    for _ in range(60):
        syncer.step(0)
        if syncer.is_settled() and all(row.status == "synced" for row in syncer.rows):
            break
        world.clock.advance(2)
    syncer.finish(0)


def check(agent: Agent, digests: dict[int, str]) -> None:
    """What an agent ever served was whole, what it said it was, and each time later than before."""
    assert agent.serving is not None
    places = [pointer.place for pointer, _ in agent.served]
    assert places == sorted(set(places))
    assert all(pointer.digest == digests[pointer.version] for pointer, _ in agent.served)
    assert all(pointer.digest in agent.models for pointer, _ in agent.served)
    assert {took for _, took in agent.served} == {Took.NEWER}


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_killed_at_any_adapter_the_next_one_sends_only_what_is_missing(world: World, killed_at: int) -> None:
    world.sync = AdapterSyncSettings(sync_batch_size=1)
    world.serve(world.learn())
    world.add_agents(8)
    syncer = world.syncer()
    while len(world.network.sent) < killed_at:
        syncer.step(0)
        world.clock.advance(2)  # each is recorded before the next one is sent
    confirmed = {key for key, row in world.rows().items() if row.status == "synced"}
    world.network.sent.clear()
    world.settle(world.syncer(seed=3))
    assert {key for key, _ in world.network.sent} == set(world.rows()) - confirmed
    assert world.statuses() == {"synced": 8}
    assert {len(agent.served) for agent in world.network.agents.values()} == {1}

"""A state that does not open is named, and the newest one that does takes its place."""

import random
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import IntegrityError
from upm_cli.store import history, layout, ledger, trainers
from upm_cli.store.restore import restore
from upm_cli.store.session import Store

CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", CLOCK)
    for n in range(1, 6):
        commit(store, n)
    return store


def commit(store: Store, n: int) -> None:
    with store.write(actor="ann") as tx:
        trainers.put(tx, Trainer(name="main", stream="main", trained=n, metadata={"text": "x" * 500}))
        tx.ledger("count", "main", n=n)


def replace(path: Path, data: bytes) -> None:
    """Put other bytes at `path`, without touching the history that shares its inode."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def damage(store: Store, generations: int) -> None:
    """Cut the live state short, and the newest kept ones too."""
    state = store.home / layout.STATE
    half = state.read_bytes()[: state.stat().st_size // 2]
    for path in (state, *history.states(store.home)[:generations]):
        replace(path, half)


def test_a_damaged_state_names_the_newest_good_one_and_the_command(store: Store) -> None:
    damage(store, 2)
    for opening in (Store(store.home, CLOCK).read, store.write):
        with pytest.raises(IntegrityError, match="damaged") as broken, opening():
            pass
        assert broken.value.code == "UPM-E091"
        assert f"{layout.history_file(store.home, 3)} is the newest good one" in broken.value.hint
        assert "upm doctor --restore" in broken.value.hint


def test_the_newest_good_state_takes_the_place_of_a_damaged_one(store: Store) -> None:
    damage(store, 2)
    done = restore(store.home, CLOCK, actor="ann")
    assert done.source == layout.history_file(store.home, 3)
    assert (done.from_generation, done.generation, done.ledger_entries_kept) == (3, 6, 2)
    assert done.corrupt is not None
    assert done.corrupt.stat().st_size > 0
    with store.read() as r:
        assert trainers.get(r, "main").trained == 3
        assert r.meta.generation == 6
        checked = ledger.verify(store.home, r.meta.ledger)
    actions = [entry["action"] for entry in ledger.read(store.home)]
    assert (checked.entries, actions) == (6, ["count"] * 5 + ["state.restored"])
    commit(store, 9)
    with store.read() as r:
        assert trainers.get(r, "main").trained == 9
        assert ledger.verify(store.home, r.meta.ledger).entries == 7


def test_restoring_a_good_state_changes_nothing(store: Store) -> None:
    before = store.token()
    assert restore(store.home, CLOCK).source is None
    assert store.token() == before


def test_a_state_that_was_deleted_comes_back_from_its_history(store: Store) -> None:
    (store.home / layout.STATE).unlink()
    done = restore(store.home, CLOCK)
    assert (done.source, done.corrupt, done.ledger_entries_kept) == (layout.history_file(store.home, 5), None, 0)
    with store.read() as r:
        assert trainers.get(r, "main").trained == 5


def test_when_nothing_opens_the_error_says_so_and_nothing_is_changed(store: Store) -> None:
    damage(store, 10)
    files = sorted(path.name for path in store.home.iterdir())
    with pytest.raises(IntegrityError) as lost:
        restore(store.home, CLOCK)
    assert "backup" in lost.value.hint
    assert sorted(path.name for path in store.home.iterdir()) == files


def test_a_damaged_ledger_is_kept_beside_when_the_state_is_restored(store: Store) -> None:
    path = store.home / layout.LEDGER
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"rubbish\n", *lines[3:]]))
    damage(store, 1)
    restore(store.home, CLOCK)
    (kept,) = store.home.glob("ledger.jsonl.corrupt-*")
    assert kept.read_bytes().splitlines(keepends=True)[3:] == lines[3:]
    with store.read() as r:
        assert ledger.verify(store.home, r.meta.ledger).entries == 3


def test_any_damage_is_either_found_or_harmless(store: Store, tmp_path: Path) -> None:
    good = (store.home / layout.STATE).read_bytes()
    chance = random.Random(20_261_123)
    found = 0
    for n in range(60):
        bad = bytearray(good)
        if n % 3 == 0:
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        elif n % 3 == 1:
            del bad[chance.randrange(len(bad)) :]
        else:
            at = chance.randrange(len(bad) // 4096) * 4096
            bad[at : at + 4096] = chance.randbytes(4096)
        replace(store.home / layout.STATE, bytes(bad))
        if history.problem(store.home / layout.STATE):
            found += 1
            continue
        with Store(store.home, CLOCK).read() as r:  # the damage was in a block that is not in use
            assert trainers.get(r, "main").trained == 5
    assert found > 20

"""A state that does not open is named, and the newest one that does takes its place."""

import errno
import random
import subprocess
import sys
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import BusyError, IntegrityError, InvalidError
from upm_cli.store import fsio, history, layout, ledger, schema, trainers
from upm_cli.store.restore import Restored, Way, look, rehearse, restore
from upm_cli.store.session import Store
from upm_cli.store.unit import Tx

CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", CLOCK)
    for n in range(1, 6):
        commit(store, n)
    return store


def nothing(_tx: Tx, way: Way) -> int:
    """Do nothing again; return how many actions are newer than the kept state."""
    return len(way.entries or ())


def go_back(store: Store) -> Restored[int]:
    done = restore(store.home, CLOCK, nothing, actor="ann")
    assert done is not None
    return done


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
    done = go_back(store)
    assert done.way.source == layout.history_file(store.home, 3)
    assert (done.way.meta.generation, done.way.generation, done.found) == (3, 6, 2)
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


def overwrite(path: Path, data: bytes) -> None:
    """Put other bytes where the file lies, under all of its names."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def test_damage_to_the_live_file_where_it_lies_costs_no_commit(store: Store) -> None:
    overwrite(store.home / layout.STATE, b"rubbish" * 1000)
    done = go_back(store)
    assert (done.way.source, done.found) == (layout.history_file(store.home, 5), 0)
    with store.read() as r:
        assert trainers.get(r, "main").trained == 5


def test_damage_to_the_live_file_and_a_torn_copy_of_it_cost_one_commit(store: Store) -> None:
    overwrite(layout.history_file(store.home, 5), b"")  # it was never synced: what a power cut leaves
    overwrite(store.home / layout.STATE, b"rubbish" * 1000)
    done = go_back(store)
    assert (done.way.source, done.found) == (layout.history_file(store.home, 4), 1)


def test_ten_states_are_kept_each_a_file_of_its_own_with_the_time_of_its_commit(store: Store) -> None:
    for n in range(6, 15):
        commit(store, n)
    kept = history.states(store.home)
    assert [int(path.stem) for path in kept] == list(range(14, 4, -1))
    found = [(store.home / layout.STATE).stat(), *(path.stat() for path in kept)]
    assert len({each.st_ino for each in found}) == 11
    assert found[0].st_mtime_ns == found[1].st_mtime_ns
    assert [each.st_mtime_ns for each in found] == sorted((each.st_mtime_ns for each in found), reverse=True)
    assert [history.meta(path).generation for path in kept] == list(range(14, 4, -1))


def test_on_a_full_disk_the_newest_kept_state_is_the_live_file(store: Store) -> None:
    def full(operation: str, path: Path) -> None:
        if operation == "open" and path.parent.name == layout.HISTORY:
            raise OSError(errno.ENOSPC, "full", str(path))

    fsio.faults.before = full
    try:
        commit(store, 6)
    finally:
        fsio.faults.before = None
    assert history.states(store.home)[0].samefile(store.home / layout.STATE)
    commit(store, 7)
    assert not history.states(store.home)[0].samefile(store.home / layout.STATE)
    assert history.meta(history.states(store.home)[1]).generation == 6


def test_restoring_a_good_state_changes_nothing(store: Store) -> None:
    before = store.token()
    assert restore(store.home, CLOCK, nothing) is None
    assert store.token() == before


def test_a_state_that_was_deleted_comes_back_from_its_history(store: Store) -> None:
    (store.home / layout.STATE).unlink()
    done = go_back(store)
    assert (done.way.source, done.corrupt, done.found) == (layout.history_file(store.home, 5), None, 0)
    with store.read() as r:
        assert trainers.get(r, "main").trained == 5


def test_when_nothing_opens_the_error_says_so_and_nothing_is_changed(store: Store) -> None:
    damage(store, 10)
    files = sorted(path.name for path in store.home.iterdir())
    with pytest.raises(IntegrityError) as lost:
        restore(store.home, CLOCK, nothing)
    assert "backup" in lost.value.hint
    assert sorted(path.name for path in store.home.iterdir()) == files


def test_a_damaged_ledger_is_kept_beside_when_the_state_is_restored(store: Store) -> None:
    path = store.home / layout.LEDGER
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"rubbish\n", *lines[3:]]))
    damage(store, 1)
    assert go_back(store).found == 0
    (kept,) = store.home.glob("ledger.jsonl.corrupt-*")
    assert kept.read_bytes().splitlines(keepends=True)[3:] == lines[3:]
    with store.read() as r:
        assert ledger.verify(store.home, r.meta.ledger).entries == 3


def test_a_rehearsal_tells_the_same_as_the_restore_and_changes_nothing(store: Store) -> None:
    damage(store, 2)
    before = {path: path.read_bytes() for path in sorted(store.home.rglob("*")) if path.is_file()}
    planned = rehearse(store.home, CLOCK, nothing, actor="ann")
    assert {path: path.read_bytes() for path in sorted(store.home.rglob("*")) if path.is_file()} == before
    assert planned is not None
    done = go_back(store)
    assert (planned.way, planned.found) == (done.way, done.found)
    assert rehearse(store.home, CLOCK, nothing) is None


def test_a_kept_state_of_another_ledger_knows_no_newer_actions(store: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other", CLOCK)
    for n in range(7):
        commit(other, n)
    (store.home / layout.LEDGER).write_bytes((other.home / layout.LEDGER).read_bytes())
    damage(store, 1)
    way = look(store.home)
    assert way is not None
    assert way.entries is None


def test_a_state_that_another_program_has_open_is_not_taken_for_a_damaged_one(store: Store) -> None:
    store.close()
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", script, str(store.home / layout.STATE)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for going in (restore, rehearse):
            with pytest.raises(BusyError, match="another program"):
                going(store.home, CLOCK, nothing)
        other.communicate()
    assert restore(store.home, CLOCK, nothing) is None


def test_a_state_of_a_newer_upm_is_not_taken_for_a_damaged_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "newest_version", lambda: 1)
    with pytest.raises(InvalidError):
        restore(store.home, CLOCK, nothing)


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

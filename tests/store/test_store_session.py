"""Units of work: all or nothing, one writer at a time, readers undisturbed."""

import os
import stat
import threading
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Segment, Stream, Trainer
from upm_cli.errors import BusyError, IntegrityError, InvalidError, NotFoundError, UpmError
from upm_cli.store import layout, outbox, segments, streams, trainers
from upm_cli.store.engine import Engine
from upm_cli.store.filelock import FileLock
from upm_cli.store.session import Store

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".upm"


@pytest.fixture
def store(home: Path) -> Store:
    return Store.create(home, CLOCK, command="upm test")


def put_trainer(store: Store, name: str, trained: int = 0) -> None:
    with store.write() as tx:
        trainers.put(tx, Trainer(name=name, stream="main", trained=trained))


def names(store: Store) -> list[str]:
    with store.read() as r:
        return [trainer.name for trainer in trainers.list_all(r)]


def test_creating_a_state_twice_changes_nothing(store: Store, home: Path) -> None:
    put_trainer(store, "main")
    before = (home / layout.STATE).read_bytes()
    again = Store.create(home, CLOCK)
    assert (home / layout.STATE).read_bytes() == before
    assert names(again) == ["main"]


def test_everything_in_the_home_is_private(store: Store, home: Path) -> None:
    put_trainer(store, "main")
    with store.write() as tx:
        tx.ledger("look", "main")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_unit_of_work_is_seen_by_another_store_after_it_ends(store: Store, home: Path) -> None:
    other = Store(home, CLOCK)
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
        assert names(other) == []
    assert names(other) == ["main"]


def test_an_exception_inside_a_unit_of_work_undoes_all_of_it(store: Store, home: Path) -> None:
    put_trainer(store, "main")
    before = (home / layout.STATE).read_bytes()

    class Stop(BaseException):
        pass

    with pytest.raises(Stop), store.write() as tx:
        trainers.put(tx, Trainer(name="other", stream="main"))
        tx.ledger("never", "other")
        raise Stop
    assert (home / layout.STATE).read_bytes() == before
    assert not (home / layout.NEXT).exists()
    assert not (home / layout.LEDGER).exists()
    put_trainer(store, "third")
    assert names(store) == ["main", "third"]


def test_a_unit_of_work_that_changes_nothing_commits_nothing(store: Store) -> None:
    before = store.token()
    with store.write() as tx:
        assert trainers.list_all(tx) == []
    assert store.token() == before


def test_the_token_changes_with_every_commit(store: Store) -> None:
    tokens = [store.token()]
    for n in range(5):
        put_trainer(store, "main", n)
        tokens.append(store.token())
    assert len(set(tokens)) == len(tokens)


def test_a_reader_keeps_the_state_it_began_with(store: Store) -> None:
    put_trainer(store, "main", 1)
    with store.read() as old:
        put_trainer(store, "main", 2)
        with store.read() as new:
            assert (trainers.get(old, "main").trained, trainers.get(new, "main").trained) == (1, 2)
        put_trainer(store, "main", 3)
        assert trainers.get(old, "main").trained == 1
    with store.read() as r:
        assert trainers.get(r, "main").trained == 3


def test_a_unit_of_work_inside_another_is_refused(store: Store) -> None:
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
        with pytest.raises(UpmError, match="inside another one"), store.write():
            pass
    assert names(store) == ["main"]


def test_a_store_does_not_work_on_the_other_side_of_a_fork(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(UpmError, match="before a fork"), store.read():
        pass
    with pytest.raises(UpmError, match="before a fork"), store.write():
        pass


def test_a_locked_state_names_pid_and_command_of_its_holder(store: Store, home: Path) -> None:
    lock = FileLock(home / layout.LOCK)
    assert lock.try_acquire("upm train main")
    with pytest.raises(BusyError) as refused, store.write(timeout_s=0.02):
        pass
    lock.release()
    assert f"pid {os.getpid()} (upm train main)" in refused.value.message
    assert refused.value.code == "UPM-E071"
    assert refused.value.context["pid"] == os.getpid()
    put_trainer(store, "main")
    assert names(store) == ["main"]


def test_threads_of_one_store_take_turns(store: Store) -> None:
    put_trainer(store, "main")
    failures: list[BaseException] = []

    def add_five() -> None:
        try:
            for _ in range(5):
                with store.write() as tx:
                    trainers.put(tx, Trainer(name="main", stream="main", trained=trainers.get(tx, "main").trained + 1))
                with store.read() as r:
                    assert trainers.get(r, "main").trained >= 1
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=add_five) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as r:
        assert (failures, trainers.get(r, "main").trained) == ([], 20)


def test_without_a_state_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    store = Store(tmp_path, CLOCK)
    for open_it in (store.read, store.write):
        with pytest.raises(NotFoundError, match="no state") as missing, open_it():
            pass
        assert "upm init" in missing.value.hint


def test_a_state_that_is_gone_is_never_replaced_by_an_empty_one(store: Store, home: Path) -> None:
    put_trainer(store, "main")
    (home / layout.STATE).unlink()
    with pytest.raises(IntegrityError, match="is gone") as gone:
        Store.create(home, CLOCK)
    assert "upm doctor --restore" in gone.value.hint
    with pytest.raises(IntegrityError, match="is gone"), store.read():
        pass


def test_the_last_ten_states_are_kept(store: Store, home: Path) -> None:
    for n in range(14):
        put_trainer(store, "main", n)
    kept = sorted(int(path.stem) for path in (home / layout.HISTORY).iterdir())
    assert kept == list(range(5, 15))


def test_a_row_the_schema_forbids_is_refused_and_undone(store: Store) -> None:
    segment = Segment(
        kind="log", owner="main", first_seq=5, last_seq=9, rows=5, path="p", size_bytes=1, digest="0" * 64,
        created_at_ms=0,
    )  # fmt: skip
    with store.write() as tx:
        segments.add(tx, segment)
    with pytest.raises(InvalidError, match="segments") as refused, store.write() as tx:
        streams.put(tx, Stream(name="main"))
        segments.add(tx, segment)
    assert refused.value.code == "UPM-E033"
    with store.read() as r:
        assert streams.list_all(r) == []


def test_events_are_numbered_without_gaps_and_old_ones_are_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upm_cli.store.unit.KEPT_EVENTS", 8)
    for n in range(5):
        with store.write() as tx:
            for k in range(5):
                tx.event("ai.upm.rollback", "/trainers/main", n=n, k=k)
    with store.read() as r:
        events = outbox.after(r)
        assert [event.position for event in events] == list(range(events[0].position, 26))
        assert 8 <= len(events) <= 16
        assert events[-1].data == {"n": 4, "k": 4}
        assert [event.position for event in outbox.after(r, position=23)] == [24, 25]
        assert len(outbox.after(r, limit=2)) == 2


def test_a_home_with_a_quote_and_a_space_in_its_name_works(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "it's ünusual; DROP" / ".upm", CLOCK)
    put_trainer(store, "main", 7)
    with store.read() as r:
        assert trainers.get(r, "main").trained == 7


def test_columns_come_as_numpy_arrays(store: Store) -> None:
    for name in ("a", "b"):
        put_trainer(store, name, 3)
    with store.read() as r:
        columns = r.columns("trainers.list_all")
    assert columns["name"].tolist() == ["a", "b"]
    assert columns["trained"].dtype.kind == "i"
    assert columns["trained"].tolist() == [3, 3]


def test_the_engine_can_be_let_go_and_comes_back(store: Store) -> None:
    put_trainer(store, "main")
    store.close()
    assert names(store) == ["main"]


def test_opening_the_module_does_not_import_duckdb() -> None:
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    code = "import sys, upm_cli.store.session; print('duckdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_threads_may_attach_and_detach_at_once(store: Store) -> None:
    """As one that reads a newer state while another prepares the next one."""
    engine, failures = Engine(store.home), []
    files = [store.home / f"{name}.duckdb" for name in ("one", "other")]

    def swap(path: Path) -> None:
        try:
            for _ in range(300):
                engine.detach(engine.attach(path, read_only=False))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=swap, args=(path,)) for path in files]
    for path in files:
        path.write_bytes((store.home / "state.duckdb").read_bytes())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert failures == []

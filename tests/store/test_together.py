"""Units of work that share a commit: each whole or not at all, whatever becomes of the others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Segment, Trainer
from upm_cli.errors import BusyError, InvalidError, StorageError, UpmError
from upm_cli.store import fsio, ledger, segments, statelock, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import Steps, Unit, alone, commit
from upm_cli.store.unit import Tx

CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / ".upm", CLOCK, command="upm test")
    yield made
    made.close()


def adds(name: str, *, then: Callable[[Tx], None] | None = None, actor: str = "trainer") -> Unit:
    """Return a unit that adds a trainer, records it, and does something more."""

    def work(tx: Tx) -> str:
        trainers.put(tx, Trainer(name=name, stream="main"))
        tx.ledger("trainer.add", name)
        if then is not None:
            then(tx)
        return name.upper()

    return Unit(actor=actor, work=work)


def refuses(tx: Tx) -> None:
    raise UpmError("no")


def same_segment_twice(tx: Tx) -> None:
    """Do what the state itself refuses."""
    about = {"path": "x", "digest": "0" * 64, "size_bytes": 1, "created_at_ms": 0}
    row = Segment(kind="log", owner="main", first_seq=0, last_seq=1, rows=2, **about)  # type: ignore[arg-type]
    segments.add(tx, row)
    segments.add(tx, row)


def state(store: Store) -> tuple[list[str], int]:
    with store.read() as reader:
        return sorted(each.name for each in trainers.list_all(reader)), reader.meta.generation


def recorded(store: Store) -> list[tuple[str, str]]:
    return [(entry["actor"], entry["subject"]) for entry in ledger.read(store.home)]


def test_units_share_one_commit_and_each_gets_what_it_returned(store: Store) -> None:
    _, before = state(store)
    done = commit(store, [adds("a"), adds("b", actor="ingest"), adds("c")])
    assert [outcome.value for outcome in done] == ["A", "B", "C"]
    assert state(store) == (["a", "b", "c"], before + 1)
    assert recorded(store) == [("trainer", "a"), ("ingest", "b"), ("trainer", "c")]


def test_one_that_fails_before_it_changed_anything_is_left_out(store: Store) -> None:
    _, before = state(store)
    done = commit(store, [adds("a"), Unit(actor="trainer", work=refuses), adds("c")])
    assert [str(outcome.error) for outcome in done] == ["None", "no", "None"]
    assert state(store) == (["a", "c"], before + 1)


@pytest.mark.parametrize(("then", "error"), [(refuses, UpmError), (same_segment_twice, InvalidError)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_that_fails_half_way_leaves_nothing_and_hurts_nobody(
    store: Store, at: int, then: Callable[[Tx], None], error: type[Exception]
) -> None:
    units = [adds("a"), adds("b"), adds("c")]
    units[at] = adds("bad", then=then)
    done = commit(store, units)
    assert [isinstance(outcome.error, error) for outcome in done] == [n == at for n in range(3)]
    others = [name for n, name in enumerate("abc") if n != at]
    assert state(store)[0] == others
    assert [subject for _, subject in recorded(store)] == others


def test_a_statement_that_the_engine_refuses_hurts_nobody_either(store: Store) -> None:
    reads = Unit(actor="trainer", work=lambda tx: tx.query("trainers.find", no_such_parameter=1))
    done = commit(store, [adds("a"), reads, adds("c")])
    assert [outcome.error is None for outcome in done] == [True, False, True]
    assert state(store)[0] == ["a", "c"]


def test_when_nothing_can_be_committed_all_of_them_fail(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(store)

    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(fsio, "publish", full)
        done = commit(store, [adds("a"), adds("b")])
    assert [type(outcome.error) for outcome in done] == [StorageError, StorageError]
    assert state(store) == before


def test_when_the_state_is_held_all_of_them_wait_only_once(store: Store) -> None:
    impatient = Store(store.home, CLOCK, lock_timeout_s=0.05)
    with statelock.hold(store.home, CLOCK, limit_s=1.0, command="upm test"):
        done = commit(impatient, [adds("a"), adds("b")])
    assert [type(outcome.error) for outcome in done] == [BusyError, BusyError]
    impatient.close()


def test_units_that_change_nothing_commit_nothing(store: Store) -> None:
    before = state(store)
    looks = Unit(actor="trainer", work=lambda tx: len(trainers.list_all(tx)))
    assert [outcome.value for outcome in commit(store, [looks, looks])] == [0, 0]
    assert state(store) == before


def test_steps_go_on_with_what_came_of_each_unit(store: Store) -> None:
    def steps() -> Steps[list[str]]:
        first = yield adds("a")
        try:
            yield adds("b", then=refuses)
        except UpmError as exc:
            second = str(exc)
        third = yield adds("c")
        return [first, second, third]

    _, before = state(store)
    assert alone(store, steps()) == ["A", "no", "C"]
    assert state(store) == (["a", "c"], before + 2)


def test_an_error_that_steps_do_not_expect_is_raised_from_where_they_are_run(store: Store) -> None:
    def steps() -> Steps[None]:
        yield adds("a", then=refuses)

    with pytest.raises(UpmError, match="no"):
        alone(store, steps())

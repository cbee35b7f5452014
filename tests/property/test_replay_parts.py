"""The parts of the replay buffer, each against something slower and plainer."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from upm_cli.core.gaps import BLOCK, TIMES, GapFinder
from upm_cli.core.hashing import U64Array
from upm_cli.core.ordering import is_ordered, log_order
from upm_cli.core.seen import SeenIds
from upm_cli.core.window import Strings

IDS = st.one_of(st.text(st.sampled_from("ab\0é"), max_size=20), st.integers(0, 30).map(str))


def three_hashes(ids: Strings) -> U64Array:
    """A hash so weak that most ids are suspects of being another."""
    return ids.hashes() % np.uint64(3)


@settings(max_examples=600, deadline=None)
@given(st.data(), st.lists(st.tuples(IDS, st.integers(0, 60)), max_size=60), st.integers(0, 40), st.booleans())
def test_ids_are_remembered_exactly_even_when_hashes_collide(
    data: st.DataObject, rows: list[tuple[str, int]], reach: int, weak: bool
) -> None:
    pace = data.draw(st.sampled_from([0, 1, 10]))
    rows = [(window_id, start + pace * i) for i, (window_id, start) in enumerate(rows)]

    def fresh() -> SeenIds:
        return SeenIds(three_hashes) if weak else SeenIds()

    seen, accepted, newest = fresh(), dict[str, int](), -1000
    got: list[bool] = []
    expected: list[bool] = []
    at = 0
    while at < len(rows):
        part = rows[at : at + data.draw(st.integers(1, 25))]
        at += len(part)
        floors = []
        for window_id, start in part:
            floor = newest - reach
            floors.append(floor)
            is_duplicate = accepted.get(window_id, -10_000) >= floor
            expected.append(is_duplicate)
            if not is_duplicate and start >= floor:
                accepted[window_id] = start
            newest = max(newest, start)
        starts = np.array([start for _, start in part], np.int64)
        ids = Strings.of(window_id for window_id, _ in part)
        got += seen.admit(ids, starts, np.array(floors, np.int64), newest - reach).tolist()
        if data.draw(st.booleans()):
            live_ids, live_starts = seen.live(newest - reach)
            alive = {window_id: start for window_id, start in accepted.items() if start >= newest - reach}
            assert dict(zip(live_ids.to_list(), live_starts.tolist(), strict=True)) == alive
            seen = fresh()
            never = np.full(live_starts.size, -10_000)
            assert not seen.admit(live_ids, live_starts, never, -10_000).any()
    assert got == expected


def test_an_id_that_came_again_outlives_the_table_that_met_it_first() -> None:
    seen = SeenIds()

    def admit(window_id: str, start: int, floor: int) -> bool:
        return bool(seen.admit(Strings.of([window_id]), np.array([start]), np.array([floor]), floor)[0])

    assert not admit("a", 10, 0)
    assert not admit("b", 10, 0)
    assert not admit("b", 50, 11)
    assert not admit("c", 60, 20)
    assert admit("b", 50, 21)


def test_a_hundred_thousand_ids_are_told_apart_from_their_repetitions() -> None:
    rng = np.random.default_rng(4)
    numbers = rng.integers(0, 60_000, 100_000)
    first = np.zeros(numbers.size, np.bool_)
    first[np.unique(numbers, return_index=True)[1]] = True
    seen, duplicate = SeenIds(), []
    for part in np.array_split(numbers, 37):
        never = np.full(part.size, -1, np.int64)
        duplicate.append(seen.admit(Strings.of(f"id-{n}" for n in part), part.astype(np.int64), never, -1))
    assert (np.concatenate(duplicate) == ~first).all()


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), IDS), max_size=30))
@example([(0, "a\0"), (0, "a")])
@example([(0, "a"), (0, "a\0")])
@example([(0, "12345678\0\0"), (0, "12345678\0"), (0, "12345678")])
def test_log_order_is_that_of_python_tuples(keys: list[tuple[int, str]]) -> None:
    starts = np.array([start for start, _ in keys], np.int64)
    ids = Strings.of(window_id for _, window_id in keys)
    as_bytes = [(start, window_id.encode()) for start, window_id in keys]
    in_order = sorted(as_bytes)
    order = log_order(starts, ids)
    assert is_ordered(starts, ids) == (as_bytes == in_order) == (order is None)
    if order is not None:
        assert [as_bytes[row] for row in order] == in_order


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 2**32), st.integers(0, 5 * BLOCK), st.one_of(st.none(), st.integers(1, 20)))
def test_gaps_are_those_of_a_plain_loop_however_starts_are_cut(
    data: st.DataObject, seed: int, n: int, gap_ms: int | None
) -> None:
    rng = np.random.default_rng(seed)
    usual = rng.choice([9, 9000])
    steps = np.where(rng.random(n) < 0.9, rng.integers(0, usual, n), rng.integers(1, 4 * usual, n))
    starts = (np.cumsum(steps) - 20).astype(np.int64)
    finder, found, at = GapFinder(gap_ms), list[tuple[int, ...]](), 0
    while at < starts.size:
        size = data.draw(st.integers(1, 150))
        found += map(tuple, finder.find(starts[at : at + size]).tolist())
        at += size
        finder = GapFinder.from_array(finder.to_array(), gap_ms)
    spacings: list[int] = []
    expected = []
    for a, b in zip(starts.tolist(), starts[1:].tolist(), strict=False):
        if b == a:
            continue
        whole = len(spacings) // BLOCK * BLOCK
        if gap_ms is not None:
            limit: float = gap_ms
        elif whole:
            limit = TIMES * sorted(spacings[whole - BLOCK : whole])[BLOCK // 2 - 1]
        else:
            limit = float("inf")
        if b - a > limit:
            expected.append((a, b))
        spacings.append(b - a)
    assert found == expected

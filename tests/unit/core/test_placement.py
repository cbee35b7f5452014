"""Which process does which jobs."""

import pytest

from upm_cli.core.placement import ROLLOUTS, JobSpec, Kind, is_pool, place


def group(stream: str, *trainers: str, sources: tuple[str, ...] = ("in",)) -> tuple[JobSpec, ...]:
    ingest = [JobSpec(kind=Kind.INGEST, name=stream, sources=sources)] if sources else []
    pairs = [JobSpec(kind=kind, name=name) for name in trainers or (stream,) for kind in (Kind.TRAINER, Kind.DRIFT)]
    return (*ingest, *pairs)


def fleet(count: int) -> dict[str, tuple[JobSpec, ...]]:
    return {f"t{n:03d}": group(f"t{n:03d}") for n in range(count)}


def where(placed: object) -> dict[str, str]:
    return {job.label: process for process, jobs in placed.items() for job in jobs}  # type: ignore[attr-defined]


def test_few_jobs_have_a_process_each_that_is_called_like_them() -> None:
    placed = place(fleet(1), {}, 4)
    assert list(placed) == ["ingest-t000", "trainer-t000", "drift-t000", ROLLOUTS]
    assert all([job.label for job in jobs] == [process] for process, jobs in placed.items())
    assert not any(map(is_pool, placed))


def test_without_trainers_only_the_ticker_runs() -> None:
    assert list(place({}, {}, 4)) == [ROLLOUTS]
    assert list(place({}, {}, 1)) == [ROLLOUTS]


def test_more_jobs_than_processes_share_pools_whole_streams_together() -> None:
    placed = place({**fleet(5), "shared": group("shared", "a", "b")}, {}, 4)
    assert list(placed) == ["pool-1", "pool-2", "pool-3", "pool-4"]
    assert all(map(is_pool, placed))
    homes = where(placed)
    assert len(homes) == 5 * 3 + 5 + 1
    for labels in (("ingest-t001", "trainer-t001", "drift-t001"), ("ingest-shared", "trainer-a", "drift-b")):
        assert len({homes[label] for label in labels}) == 1


def test_pools_get_about_as_much_to_do() -> None:
    placed = place(fleet(200), {}, 4)
    assert sorted(len(jobs) for jobs in placed.values()) == [150, 150, 150, 151]


def test_there_are_no_more_pools_than_streams() -> None:
    assert list(place(fleet(2), {}, 6)) == ["pool-1", "pool-2"]


def test_everybody_stays_where_they_are_when_others_come_and_go() -> None:
    before = place(fleet(20), {}, 4)
    fewer = {name: jobs for name, jobs in fleet(20).items() if name not in ("t003", "t007")}
    after = place({**fewer, "new": group("new")}, before, 4)
    moved = {label for label, pool in where(after).items() if where(before).get(label, pool) != pool}
    assert moved == set()
    gone = {where(before)["trainer-t003"], where(before)["trainer-t007"]}
    assert where(after)["trainer-new"] in gone, "the new one goes where there is room"


def test_a_pool_that_is_no_more_hands_its_streams_to_the_others() -> None:
    before = place(fleet(20), {}, 4)
    after = place(fleet(20), before, 2)
    assert set(after) == {"pool-1", "pool-2"}
    assert where(after).keys() == where(before).keys()
    stayed = [label for label, pool in where(before).items() if pool in after]
    assert all(where(after)[label] == where(before)[label] for label in stayed)


def test_a_trainer_that_joins_a_stream_goes_where_the_stream_is() -> None:
    before = place(fleet(20), {}, 4)
    groups = {**fleet(20), "t011": group("t011", "t011", "second")}
    assert where(place(groups, before, 4))["trainer-second"] == where(before)["trainer-t011"]


def test_a_job_survives_being_written_down() -> None:
    job = JobSpec(kind=Kind.INGEST, name="main", sources=("/data/in", "/data/*.jsonl"))
    assert JobSpec.from_plain(job.to_plain()) == job
    assert job.label == "ingest-main"
    with pytest.raises(ValueError, match="nonsense"):
        JobSpec.from_plain({**job.to_plain(), "kind": "nonsense"})

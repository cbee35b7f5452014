"""The tree of workers with small programs in place of workers: order of ends, restarts, giving up, stopping."""

import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from upm_cli.workers.tree import RESTARTS, Child, Tree

SPEED = 20.0
STUBBORN = "trap '' TERM; touch started; while :; do sleep 0.02; done"


class FastClock:
    """Runs faster than time, so that backoff and grace are short."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def monotonic_s(self) -> float:
        return time.monotonic() * SPEED

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / SPEED)


@dataclass
class Ended:
    code: int
    restarts: int
    children: list[Child]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs children whose argv is a line of shell."""
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ncd "$(dirname "$0")"\neval "$3"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))

    def run(*children: Child, stop: Callable[[], int | None] = lambda: None, may_restart: bool = True) -> Ended:
        tree = Tree(FastClock(), children, jitter=random.Random(1), may_restart=may_restart)
        code = tree.run(stop, lambda: None)
        for child in children:
            assert child.process is not None
            assert child.process.poll() is not None, "nobody is left behind"
        return Ended(code, tree.restarts, list(children))

    return run


def test_the_end_of_input_is_handed_down_in_order(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        Child("first", ["echo first >> order"]),
        Child("second", ["cat; echo second >> order"], upstream="first"),
        Child("third", ["cat; echo third >> order"], upstream="second"),
    )
    assert (ended.code, ended.restarts) == (0, 0)
    assert (tmp_path / "order").read_text().split() == ["first", "second", "third"]


def test_without_its_upstream_a_worker_has_no_input_at_all(run: Callable[..., Ended]) -> None:
    assert run(Child("second", ["cat"], upstream="first")).code == 0


def test_a_worker_that_crashes_is_started_again(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        Child("first", ["echo x >> tries; test $(wc -l < tries) -ge 3"]),
        Child("second", ["cat; test $(wc -l < tries) -eq 3"], upstream="first"),
    )
    assert (ended.code, ended.restarts) == (0, 2)
    assert (tmp_path / "tries").read_text() == "x\n" * 3, "and what is below it waits until it has ended well"


def test_a_worker_that_was_killed_is_started_again(run: Callable[..., Ended]) -> None:
    ended = run(Child("first", ["if test -e again; then exit 0; fi; touch again; kill -9 $$"]))
    assert (ended.code, ended.restarts) == (0, 1)


def test_the_tree_gives_up_after_too_many_restarts_and_stops_the_others(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = run(Child("bad", ["echo x >> tries; exit 1"]), Child("good", ["exec sleep 600"]))
    assert (ended.code, ended.restarts) == (1, RESTARTS)
    assert (tmp_path / "tries").read_text().count("x") == RESTARTS + 1


def test_a_worker_killed_again_and_again_ends_the_tree_with_128_plus_the_signal(run: Callable[..., Ended]) -> None:
    assert run(Child("bad", ["kill -9 $$"])).code == 128 + signal.SIGKILL


@pytest.mark.parametrize("code", [2, 3, 4, 5, 7, 9])
def test_an_error_that_would_only_come_again_ends_the_tree_at_once(
    run: Callable[..., Ended], tmp_path: Path, code: int
) -> None:
    ended = run(Child("bad", [f"echo x >> tries; exit {code}"]), Child("good", ["exec sleep 600"]))
    assert (ended.code, ended.restarts) == (code, 0)
    assert (tmp_path / "tries").read_text() == "x\n"


def test_restarts_can_be_switched_off(run: Callable[..., Ended]) -> None:
    ended = run(Child("bad", ["exit 1"]), may_restart=False)
    assert (ended.code, ended.restarts) == (1, 0)


def test_a_worker_that_reads_a_pipe_is_not_started_again(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(Child("reader", ["echo x >> tries; kill -9 $$", "--source", "-"]))
    assert (ended.code, ended.restarts) == (128 + signal.SIGKILL, 0)
    assert (tmp_path / "tries").read_text() == "x\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_asks_every_worker_to_end_and_waits_for_them(
    run: Callable[..., Ended], tmp_path: Path, number: int
) -> None:
    work = "trap 'echo {name} >> ended; exit 143' TERM; touch {name}; while :; do sleep 0.01; done"
    names = ("first", "second")

    def stop() -> int | None:
        return number if all((tmp_path / name).exists() for name in names) else None

    ended = run(*(Child(name, [work.format(name=name)]) for name in names), stop=stop)
    assert ended.code == 128 + number
    assert sorted((tmp_path / "ended").read_text().split()) == ["first", "second"]


def test_a_worker_that_will_not_end_is_killed_after_the_grace(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        Child("stubborn", [STUBBORN]),
        stop=lambda: signal.SIGTERM if (tmp_path / "started").exists() else None,
    )
    assert ended.code == 143
    assert ended.children[0].process is not None
    assert ended.children[0].process.returncode == -signal.SIGKILL

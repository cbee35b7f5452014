"""`upm status -w`: in a pipe a line for whatever changed, on a terminal the same lines drawn again in place."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.cli.conftest import Ran, Shell
from upm_cli.clock import SystemClock
from upm_cli.store import trainers


def watch(shell: Shell, monkeypatch: pytest.MonkeyPatch, looks: list[Callable[[], Any]], *words: str) -> Ran:
    """Watch, doing one of `looks` between two looks, and press Ctrl-C after the last."""
    todo = iter([*looks, None])

    def sleep(_self: SystemClock, _seconds: float) -> None:
        do = next(todo)
        if do is None:
            raise KeyboardInterrupt
        do()

    with monkeypatch.context() as patched:
        patched.setattr(SystemClock, "sleep", sleep)
        return shell("status", "-w", *words)


def change(shell: Shell, **columns: Any) -> None:
    store = shell.store
    with store.write(actor="me") as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), **columns))
    store.close()


def pause(shell: Shell) -> None:
    change(shell, desired="pause", pause_reason="lunch")


def test_in_a_pipe_a_trainer_gets_a_line_when_it_changed_and_counting_is_no_change(
    trained: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = watch(
        trained,
        monkeypatch,
        [lambda: None, lambda: change(trained, trained=2001), lambda: pause(trained)],
        "-o",
        "jsonl",
    )
    first, second, *rest = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 130
    assert [line for line in rest if "name" in line] == []
    assert (first["name"], first["state"], first["problems"]) == ("main", "idle", [])
    assert (second["name"], second["state"], second["problems"]) == ("main", "paused", ["paused: lunch"])


def test_on_a_terminal_it_is_drawn_in_place(trained: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    ran = watch(trained, monkeypatch, [lambda: pause(trained)], "-o", "table")
    before, again, after = re.split(r"\x1b\[(\d+)F\x1b\[J", ran.out)
    assert before.count("\n") == int(again), "as many lines up as were drawn"
    assert "idle" in before
    assert "paused" in after
    assert "main: paused: lunch.   Next: upm resume main" in after

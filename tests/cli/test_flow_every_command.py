"""What holds for every command: an example that parses, one JSON object, plain text in pipes, silence when asked."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import typer

from upm_cli.app import build, main
from upm_cli.commands._context import Change, Context, Globals
from upm_cli.commands._reference import walk
from upm_cli.commands._run import Run
from upm_cli.errors import RefusedError
from upm_cli.exit_codes import ExitCode

Shell = Any
ASK = json.dumps({"x": 1.0, "y": -1.0, "kind": "k1"})
#: Every command that ends by itself, in an order in which each works.
COMMANDS = [
    ("version",),
    ("explain", "UPM-E040"),
    ("config", "show"),
    ("validate",),
    ("trainer", "list"),
    ("trainer", "show", "main"),
    ("trainer", "add", "second"),
    ("trainer", "remove", "second", "--yes", "--reason", "not needed"),
    ("ingest", "more.jsonl", "--trainer", "main"),
    ("train", "main", "--once"),
    ("snapshot", "create", "main"),
    ("snapshot", "list", "main"),
    ("snapshot", "show", "main", "1"),
    ("snapshot", "verify", "main", "--all"),
    ("snapshot", "pin", "main", "1", "--reason", "keep"),
    ("snapshot", "unpin", "main", "1"),
    ("snapshot", "gc", "main", "--dry-run"),
    ("keys", "init"),
    ("keys", "rotate", "--prepare"),
    ("keys", "rotate", "--reason", "a year is over", "--yes"),
    ("keys", "list"),
    ("keys", "export"),
    ("snapshot", "sign", "main", "--all"),
    ("activate", "main", "1"),
    ("activate", "main", "2"),
    ("predict", ASK),
    ("rollback", "main", "--yes", "--reason", "worse"),
    ("drift-report", "main"),
    ("rollout", "start", "main", "--reason", "again"),
    ("rollout", "status", "main"),
    ("rollout", "plan", "main"),
    ("rollout", "history", "main"),
    ("rollout", "readiness", "main"),
    ("rollout", "pause", "main", "--reason", "look"),
    ("rollout", "freeze", "main", "--until", "8h", "--reason", "look"),
    ("rollout", "sign-off", "runbook", "main"),
    ("rollout", "abort", "main", "--yes"),
    ("tenant", "deny", "t1", "main", "--yes"),
    ("tenant", "route", "t1", "main"),
    ("tenant", "list", "main"),
    ("anchor", "show", "main"),
    ("anchor", "clear", "main", "--yes"),
    ("gate", "check", "main", "1", "--to-stage", "shadow"),
    ("gate", "explain"),
    ("gate", "override", "freeze", "main", "--reason", "look"),
    ("gate", "overrides"),
    ("quarantine", "list"),
    ("quarantine", "release", "main@2", "--reason", "look"),
    ("adapter", "add", "edge", "--path", ".upm-models"),
    ("adapter", "list"),
    ("adapter", "show", "edge"),
    ("sync", "run"),
    ("sync", "status"),
    ("sync", "verify"),
    ("sync", "retry"),
    ("sync", "collect"),
    ("adapter", "remove", "edge", "--yes"),
    ("drill", "rollback", "main", "--dry-run"),
    ("agent", "token", ".upm/token"),
    ("pause", "main", "--reason", "look"),
    ("status",),
    ("resume", "main"),
    ("events",),
    ("events", "dead-letters"),
    ("metrics", "show"),
    ("metrics", "alerts"),
]


def examples() -> list[str]:
    root = build()
    found = []
    for path, command, _ in walk(root, typer.Context(root, info_name="upm")):
        lines = [line.strip() for line in (command.help or "").splitlines()]
        found += [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
        if not hasattr(command, "list_commands"):
            assert any(line.startswith(f"Example: {path}") for line in lines), path
    return found


@pytest.mark.parametrize("example", examples())
def test_the_example_in_the_help_can_be_typed(
    example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(example, comments=True)
    assert program == "upm"
    ends = [words.index(sign) for sign in ("|", ">", ">>") if sign in words]

    @contextmanager
    def stop(self: Run, options: Globals, change: Change) -> Iterator[Context]:
        raise RefusedError("it parses")
        yield

    monkeypatch.setattr(Run, "open", stop)
    assert main(words[: min(ends, default=len(words))]) == ExitCode.REFUSED
    assert "it parses" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "jsonl", "tsv", "table"])
def test_every_command_answers_in_every_form(trained: Shell, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with -q a success says nothing on stderr, and nothing but the project is left behind."""
    monkeypatch.chdir(trained.folder)
    is_quiet = form == "jsonl"
    broken = () if is_quiet else ("{broken",)
    trained.write("more.jsonl", *(trained.event(i) for i in range(2000, 2100)), *broken)
    for words in COMMANDS:
        ran = trained(*words, "-o", form, *(("-q",) if is_quiet else ()))
        assert ran.code == 0, (words, ran.err)
        assert not is_quiet or ran.err == "", words
        assert "\x1b" not in ran.out + ran.err, words
        assert "\r" not in ran.out + ran.err, words
        if form == "json":
            (line,) = ran.out.splitlines()
            assert json.loads(line)["schema_version"] == 1, words
        if form == "jsonl":
            assert all(isinstance(json.loads(line), dict) for line in ran.out.splitlines()), words
        if form == "tsv":
            header, *rows = ran.out.splitlines()
            assert all(row.count("\t") == header.count("\t") for row in rows), words
    assert sorted(path.name for path in trained.folder.iterdir()) == [".upm", ".upm-models", "more.jsonl", "upm.yaml"]
    assert not (trained.home / "crash").exists()
    assert not list(trained.home.rglob("*.tmp"))
    assert not list(trained.home.glob("state.duckdb.*"))

"""The frame every command stands in: options, output formats, errors and exit codes."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from upm_cli import app
from upm_cli.app import build, main
from upm_cli.commands import version as version_command
from upm_cli.commands._context import Change, Context, Globals, duration_s, wants_color
from upm_cli.commands._diagnostics import Diagnostics
from upm_cli.commands._output import Column, Table, emit, plain
from upm_cli.commands._reference import cli_reference, walk
from upm_cli.commands._text import cell, visible
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.exit_codes import ExitCode
from upm_cli.ops.project import init_project

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"duckdb", "numpy", "pyarrow", "textual", "pydantic", "rich", "yaml"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class StoppedClock:
    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return 0.0

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def process(*argv: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    env = more.pop("env", {**os.environ, "PYTHONPATH": str(ROOT)})
    return subprocess.run([sys.executable, *argv], env=env, capture_output=True, text=True, check=False, **more)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [*os.environ]:
        if name.startswith(("UPM_", "TL_FEATURES")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield


@pytest.mark.parametrize("argv", [["--help"], [], ["version"], ["explain", "UPM-E001"], ["train", "--help"]])
def test_light_commands_import_nothing_heavy(argv: list[str]) -> None:
    script = (
        "import sys\n"
        "from upm_cli.app import main\n"
        f"code = main({argv})\n"
        f"print('HEAVY', code, sorted({HEAVY} & {{name.partition('.')[0] for name in sys.modules}}))\n"
    )
    assert process("-c", script).stdout.splitlines()[-1] == "HEAVY 0 []"


def test_help_without_arguments_is_help_and_says_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: upm ")
    assert "New here?  upm demo" in out
    for panel in ("Loop:", "Release:", "Safety:", "Operate:", "Setup:"):
        assert panel in out


def test_every_command_has_help_with_an_example_and_needs_no_project(capsys: pytest.CaptureFixture[str]) -> None:
    root = build()
    commands = list(walk(root, typer.Context(root, info_name="upm")))
    assert len(commands) > 10
    for path, command, _ in commands:
        code, out, err = run(capsys, *path.split()[1:], "--help")
        assert (code, err) == (0, ""), path
        assert out.startswith(f"Usage: {path}"), path
        if not hasattr(command, "list_commands"):
            assert f"Example: {path}" in out, path
            assert "-o, --output" in out, path


def test_every_command_of_the_table_exists() -> None:
    entries = app._ENTRIES
    root = build()
    context = typer.Context(root, info_name="upm")
    for name, entry in entries.items():
        command = root.get_command(context, name)
        assert command is not None, name
        assert command.rich_help_panel == entry.panel


def test_the_reference_page_says_what_the_commands_say() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text()
    assert cli_reference(build()) in page, "run .ci/write_reference.py"
    for code in ExitCode:
        assert f"| {int(code)} |" in page


@pytest.mark.parametrize(
    "argv", [["--json", "version"], ["version", "--json"], ["-o", "table", "version", "-o", "json"]]
)
def test_shared_options_stand_before_or_after_the_command(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    assert json.loads(out)["schema_version"] == 1


def test_overrides_from_both_sides_add_up_and_the_later_one_wins(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--set", "learner.bits=10", "config", "--set", "learner.l2=0.5", "show", "learner", "--json"]
    argv += ["--set", "learner.bits=11", "--set", "learner.optimizer=ftrl"]
    code, out, _ = run(capsys, *argv)
    values = {row["key"]: row["value"] for row in json.loads(out)["settings"]}
    assert code == 0
    assert (values["learner.bits"], values["learner.l2"], values["learner.optimizer"]) == (11, 0.5, "ftrl")


def test_the_output_format_may_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPM_OUTPUT", "json")
    assert json.loads(run(capsys, "version")[1])["version"]
    assert run(capsys, "version", "-o", "tsv")[1].startswith("key\tvalue\n")


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["rollbak"], "no command 'rollbak'", "did you mean: upm rollback"),
        (["config", "shwo"], "no command 'shwo'", "did you mean: upm config show"),
        (["xyzzy"], "no command 'xyzzy'", "upm --help lists them"),
        (["version", "--jsno"], "no such option: --jsno", "upm version --help"),
        (["version", "more"], "got unexpected extra argument", "upm version --help"),
        (["config", "get"], "missing argument 'KEY'", "upm config get --help"),
        (["version", "-o", "xml"], "no output format 'xml'", "one of table, json, jsonl, tsv"),
        (["version", "--timeout", "soon"], "--timeout 'soon' is not a duration", "write 500ms"),
        (["version", "--wait", "-3"], "--wait '-3' is not a duration", "write 500ms"),
        (["version", "--color", "pink"], "no colour choice 'pink'", "one of auto"),
        (["-q"], "no command given", "upm --help lists them"),
        (["version", "--json", "--fields", "vresion"], "no field 'vresion'", "fields are version, python"),
    ],
)
def test_wrong_usage_gets_one_line_a_hint_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str, hint: str
) -> None:
    code, out, err = run(capsys, *argv)
    first, second = err.splitlines()
    assert code == 2
    assert first.startswith("error[UPM-E0")
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second
    assert "Traceback" not in err
    assert not out or json.loads(out)["ok"] is False


def test_json_mode_has_the_error_as_an_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "explain", "UPM-E999", "--json")
    assert json.loads(out) == {
        "schema_version": 1,
        "ok": False,
        "error": {
            "code": "UPM-E049",
            "type": "not-found",
            "title": "not found",
            "detail": "no code 'UPM-E999'",
            "hint": json.loads(out)["error"]["hint"],
            "next": [],
            "context": {},
            "exit_code": 4,
        },
    }
    assert code == 4
    assert err.startswith("error[UPM-E049]: no code 'UPM-E999'\n")


@pytest.mark.parametrize("before", [["--json"], ["-o", "json"], ["-ojsonl"], ["--output=json"]])
def test_json_mode_is_known_even_when_the_command_line_is_wrong(
    capsys: pytest.CaptureFixture[str], before: list[str]
) -> None:
    assert json.loads(run(capsys, *before, "rollbak")[1])["error"]["code"] == "UPM-E026"


def test_a_bug_gives_one_line_a_crash_file_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(capsys, "init", "-q")[0] == 0

    def broken(name: str) -> str:
        raise KeyError("x")

    monkeypatch.setattr(version_command, "_installed", broken)
    code = main(["version"], clock=StoppedClock())
    err = capsys.readouterr().err
    crash = tmp_path / f".upm/crash/20231114T221320-{os.getpid()}.txt"
    assert code == 1
    assert err.startswith("error[UPM-E001]: internal error (KeyError: 'x')\nhint: ")
    assert str(crash) in err
    assert "Traceback" not in err
    assert "in broken" in crash.read_text()
    assert crash.stat().st_mode & 0o777 == 0o600


def test_an_interrupt_ends_with_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(version_command, "_installed", interrupted)
    assert run(capsys, "version") == (130, "", "interrupted\n")


def test_a_timeout_ends_any_command_with_10(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_command, "_installed", lambda name: threading.Event().wait(30))
    code, _, err = run(capsys, "version", "--timeout", "50ms")
    assert code == 10
    assert err.startswith("error[UPM-E100]: gave up after 0.05 s")


def test_an_operating_system_error_is_told_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str) -> str:
        raise OSError(28, "No space left on device", "/srv/x")

    monkeypatch.setattr(version_command, "_installed", full)
    code, _, err = run(capsys, "version")
    assert code == 1
    assert err.startswith("error[UPM-E010]: can't use /srv/x: the disk is full\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = f"{sys.executable} -m upm_cli explain -o json | head -c 1; echo ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{0\n", "")


@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"TERM": "dumb"},
        {"HOME": "/nonexistent"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_odd_environments_neither_hang_nor_crash(env: dict[str, str]) -> None:
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
    for argv in (["--help"], ["explain", "-o", "table"], ["version", "-o", "table"]):
        done = process("-m", "upm_cli", *argv, env=bare, stdin=subprocess.DEVNULL, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), argv
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", "2>/dev/full"])
def test_closed_streams_neither_hang_nor_crash(closed: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = f"{sys.executable} -m upm_cli explain nothing --json {closed}"
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "UPM-E049"


def test_a_full_stdout_is_an_error_of_the_disk() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = f"{sys.executable} -m upm_cli version > /dev/full"
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "error[UPM-E010]" in done.stderr
    assert "Traceback" not in done.stderr


def test_completion_knows_commands_and_options() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_UPM_COMPLETE": "complete_bash"}
    for words, expected in (("upm conf", "config"), ("upm config sh", "show"), ("upm config show --ori", "--origin")):
        asked = {**env, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        assert process("-m", "upm_cli", env=asked).stdout.split() == [expected]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_line_names_its_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, err = run(capsys, "completion", "show", shell)
    assert code == 0
    assert f"_UPM_COMPLETE=source_{shell} upm" in out
    assert "put it into ~/" in err
    assert run(capsys, "completion", "show", "tcsh")[0] == 2


# What commands build on


def context(**options: Any) -> Context:
    change = options.pop("change", Change())
    environ = options.pop("environ", {})
    return Context(Globals(**options), change, StoppedClock(), Diagnostics(), environ)


ROWS = [{"name": "a\tb\nc\\d", "n": 3, "x": float("nan")}, {"name": "\x1b[31mred\u202e[bold]", "n": None, "x": 0.5}]
COLUMNS = [Column("name"), Column("n", right=True), Column("x")]


def test_tsv_has_a_header_and_escapes_what_would_break_it(capsys: pytest.CaptureFixture[str]) -> None:
    emit(context(output="tsv"), {"rows": ROWS}, Table(key="rows", columns=COLUMNS))
    assert capsys.readouterr().out == "name\tn\tx\na\\tb\\nc\\\\d\t3\t\n\\x1b[31mred\\u202e[bold]\t\t0.5\n"


def test_json_lines_are_rows_and_unknown_numbers_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    emit(context(output="jsonl"), {"rows": ROWS, "total": 2}, Table(key="rows", columns=COLUMNS))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{**ROWS[0], "x": None}, ROWS[1]]


def test_fields_choose_and_order_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(key="rows", columns=COLUMNS)
    emit(context(output="json", fields=("x", "n")), {"rows": ROWS, "total": 2}, table)
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "rows": [{"x": None, "n": 3}, {"x": 0.5, "n": None}],
        "total": 2,
    }
    emit(context(output="tsv", fields=("n",)), {"rows": ROWS}, table)
    assert capsys.readouterr().out == "n\n3\n\n"


def test_objects_become_dotted_keys_in_tsv(capsys: pytest.CaptureFixture[str]) -> None:
    emit(context(output="tsv"), {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": True, "f": {}})
    assert capsys.readouterr().out == "key\tvalue\na.b\t1\na.c.d\t[1, 2]\ne\ttrue\nf\t{}\n"


def test_a_table_shows_data_as_text_and_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "[bold]x[/bold]" + "y" * 200, "n": 1, "x": "\x1b]0;title\x07"}]
    emit(context(output="table"), {"rows": rows}, Table(key="rows", columns=COLUMNS))
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" + "y" * 200 in out
    assert "\\x1b]0;title\\x07" in out
    assert "\x1b" not in out


def test_an_empty_table_says_what_to_do_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    emit(context(output="table"), {"rows": []}, Table(key="rows", columns=COLUMNS, empty="none yet: upm x"))
    assert capsys.readouterr() == ("", "none yet: upm x\n")


def test_numpy_values_paths_and_dataclasses_can_be_printed() -> None:
    import numpy as np

    found = plain({"a": np.float32(0.5), "b": np.arange(3), "c": Path("/x"), "d": Change(yes=True), "e": ExitCode.BUSY})
    assert found == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": "/x",
        "d": {"dry_run": False, "yes": True, "reason": ""},
        "e": 7,
    }
    json.dumps(found, allow_nan=False)
    with pytest.raises(TypeError):
        plain(object())


def test_what_steers_a_terminal_is_shown_instead() -> None:
    assert visible("naïve — 漢字 ✓") == "naïve — 漢字 ✓"
    assert visible("a\x1b[2Jb\x9bc\u200bd\u2028e\ud800") == "a\\x1b[2Jb\\x9bc\\u200bd\\u2028e\\ud800"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert cell("back\\slash\ttab") == "back\\\\slash\\ttab"


def test_confirming_needs_yes_or_somebody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    context(change=Change(yes=True)).confirm("this removes x")
    with pytest.raises(UsageError, match="this removes x and needs confirmation") as caught:
        context().confirm("this removes x")
    assert "--yes" in caught.value.hint
    assert caught.value.code == "UPM-E022"

    monkeypatch.setattr(sys, "stderr", Terminal())
    for answer, agrees in (("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        if agrees:
            context().confirm("this removes x")
        else:
            with pytest.raises(UsageError, match="nothing was changed"):
                context().confirm("this removes x")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with pytest.raises(UsageError, match="needs confirmation"):
        context(no_input=True).confirm("this removes x")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("5m", 300.0), ("1.5h", 5400.0), ("2d", 172_800.0), ("7", 7.0)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert duration_s(text, "--wait") == pytest.approx(seconds)


def test_colour_needs_a_terminal_unless_it_is_asked_for() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    xterm = {"TERM": "xterm"}
    assert wants_color(None, terminal, xterm)
    assert not wants_color(None, pipe, xterm)
    assert not wants_color(None, terminal, {"TERM": "dumb"})
    assert not wants_color("auto", terminal, {**xterm, "NO_COLOR": "1"})
    assert wants_color(None, pipe, {"FORCE_COLOR": "1"})
    assert wants_color("always", pipe, {"NO_COLOR": "1"})
    assert not wants_color("never", terminal, {**xterm, "FORCE_COLOR": "1"})


def test_a_table_on_a_terminal_is_coloured_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"name": "y" * 100, "n": 1, "x": 2}]
    emit(context(environ={"TERM": "xterm"}), {"rows": rows}, Table(key="rows", columns=COLUMNS))
    plain_lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in screen.getvalue().splitlines()]
    assert "\x1b[1m" in screen.getvalue()
    assert max(map(len, plain_lines)) <= 40
    assert sum(line.count("y") for line in plain_lines) == 100


def test_progress_is_drawn_on_terminals_only() -> None:
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        with Diagnostics(stream=stream).progress("reading", total=10) as bar:
            bar.update(5, "12/s")
    assert "reading" in screen.getvalue()
    assert "5/10 12/s" in screen.getvalue()
    assert screen.getvalue().endswith("\r")
    assert pipe.getvalue() == ""


def test_quiet_silences_notes_and_verbose_adds_details() -> None:
    def told(**options: Any) -> str:
        stream = io.StringIO()
        say = Diagnostics(stream=stream, **options)
        say.note("news")
        say.detail("detail")
        say.detail("more", level=2)
        say.error(UsageError("wrong", hint="right"))
        return stream.getvalue()

    error = "error[UPM-E020]: wrong\nhint: right\n"
    assert told() == f"news\n{error}"
    assert told(quiet=True) == error
    assert told(verbose=1) == f"news\ndebug: detail\n{error}"
    assert told(verbose=2) == f"news\ndebug: detail\ndebug: more\n{error}"


def test_the_trainer_may_be_left_out_when_there_is_only_one(tmp_path: Path) -> None:
    init_project(tmp_path, StoppedClock())
    ctx = context(project=tmp_path)
    assert ctx.trainer_name(None) == "default"
    assert ctx.trainer_name("default") == "default"
    with pytest.raises(NotFoundError, match=r"no trainer 'defalt'\. Did you mean 'default'\?"):
        ctx.trainer_name("defalt")

    (tmp_path / "upm.yaml").write_text("supervisor: {default_trainers: [{name: eu}, {name: us}]}")
    several = context(project=tmp_path)
    assert several.trainer_name("us") == "us"
    with pytest.raises(UsageError, match="There are 2: eu, us"):
        several.trainer_name(None)

    (tmp_path / "upm.yaml").write_text("supervisor: {default_trainers: []}")
    none = context(project=tmp_path)
    with pytest.raises(UsageError, match="There are 0: none") as caught:
        none.trainer_name(None)
    assert caught.value.hint == "upm trainer add NAME"
    for one in (ctx, several, none):
        one.close()

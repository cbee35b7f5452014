"""`upm schedule install` and `remove`: with a `crontab` that stores a file, and folders of units of their own."""

import io
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CONFIG, Ran, Shell
from upm_cli.app import main
from upm_cli.commands._context import Context
from upm_cli.ops import schedule, schedule_units

ROOT = Path(__file__).resolve().parents[2]
CRONTAB = """\
#!/bin/sh
echo "$*" >> {folder}/crontab.calls
user=me; if [ "$1" = -u ]; then user=$2; shift 2; fi
case $1 in
-l) [ -e {folder}/$user ] || {{ echo "no crontab for $user" >&2; exit 1; }}; cat {folder}/$user ;;
-r) rm {folder}/$user ;;
-) cat > {folder}/$user ;;
*) exit 2 ;;
esac
"""
SYSTEMCTL = (
    '#!/bin/sh\necho "$*" >> {folder}/systemctl.calls\n[ ! -e {folder}/fails ] || {{ cat {folder}/fails; exit 1; }}\n'
)
MINE = b"MAILTO=me\n# caf\xe9\t\n0 0 * * *\tmine  # trailing \n\n"
HOSTILE = ["a b", "50% off", 'it\'s "quoted"', "$HOME `id`", "früh", "%h;#x", "-x"]
BACKSLASHES = ["back\\slash", "a\\%b", "a\\\\%%b", "ends with \\", "\\'%"]


@dataclass
class Machine:
    """What a machine has of cron and systemd, under a folder of ours."""

    folder: Path

    @property
    def crontab(self) -> Path:
        return self.folder / "spool" / "me"

    @property
    def user_units(self) -> Path:
        return self.folder / "config" / "systemd" / "user"

    @property
    def system_units(self) -> Path:
        return self.folder / "system"

    @property
    def asked(self) -> list[str]:
        """What systemctl was asked."""
        path = self.folder / "spool" / "systemctl.calls"
        return path.read_text().splitlines() if path.exists() else []

    def without(self, program: str) -> None:
        (self.folder / "bin" / program).unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "machine"
    for name in ("bin", "spool", "system", "plain"):
        (folder / name).mkdir(parents=True)
    for name, text in (("crontab", CRONTAB), ("systemctl", SYSTEMCTL)):
        (folder / "bin" / name).write_text(text.format(folder=folder / "spool"))
        (folder / "bin" / name).chmod(0o755)
    for name in ("cat", "rm", "sh"):
        (folder / "plain" / name).symlink_to(shutil.which(name) or "/missing")
    monkeypatch.setenv("PATH", f"{folder}/bin:{folder}/plain")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setattr(schedule_units, "SYSTEM_UNITS", folder / "system")
    monkeypatch.setattr(schedule_units, "_LINGER", folder / "linger")
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/upm"])
    return Machine(folder)


@pytest.fixture
def another(tmp_path: Path, new_shell: Callable[[Path], Shell]) -> Callable[[str], Shell]:
    """Makes a further project, called as is said."""

    def make(name: str) -> Shell:
        folder = tmp_path / "more" / name
        assert main(["init", "-q", "--", str(folder)]) == 0
        (folder / "upm.yaml").write_text(CONFIG)
        return new_shell(folder)

    return make


def install(shell: Shell, kind: str, *more: str) -> dict[str, Any]:
    return shell.json("schedule", "install", kind, *more, "--yes")


def unit(machine: Machine, said: dict[str, Any]) -> Path:
    """The service that was installed."""
    return Path(said["files"][0]["path"])


def test_a_block_of_a_crontab_comes_and_goes_and_every_other_byte_stays(fresh: Shell, machine: Machine) -> None:
    machine.crontab.write_bytes(MINE)
    said = install(fresh, "cron")
    assert (said["changed"], said["scope"], said["next"]) == (True, "user", [])
    whole = machine.crontab.read_bytes()
    assert whole.startswith(MINE)
    block = whole.removeprefix(MINE).decode().splitlines()
    assert block[0].startswith("# >>> upm fresh-")
    assert f" {fresh.folder};" in block[0]
    assert re.fullmatch(r"# <<< upm fresh-[0-9a-f]{8} <<<", block[-1])
    shown = fresh.json("schedule", "show", "cron")["files"]["upm.cron"].splitlines()
    assert block[1:-1] == shown[3:]  # without its heading and SHELL
    assert install(fresh, "cron")["changed"] is False
    machine.crontab.write_bytes(machine.crontab.read_bytes() + b"1 1 * * * later\n")
    with (fresh.folder / "upm.yaml").open("a") as config:
        config.write("notify: {webhooks: [{name: ops, url: 'https://hooks.example/x'}]}\n")
    assert [row["change"] for row in install(fresh, "cron")["files"]] == ["replace"]
    assert b"notify run" in machine.crontab.read_bytes()
    assert fresh.json("schedule", "remove", "--yes")["changed"] is True
    assert machine.crontab.read_bytes() == MINE + b"1 1 * * * later\n"
    assert fresh.json("schedule", "remove", "--yes")["files"] == []


def test_a_crontab_that_was_none_is_none_again(fresh: Shell, machine: Machine) -> None:
    install(fresh, "cron")
    assert "SHELL" not in machine.crontab.read_text()
    fresh.json("schedule", "remove", "--yes")
    assert not machine.crontab.exists()


def test_lines_below_the_block_keep_their_shell(fresh: Shell, machine: Machine) -> None:
    machine.crontab.write_text("SHELL=/bin/bash\n0 0 * * * a\n")
    install(fresh, "cron")
    machine.crontab.write_text(machine.crontab.read_text() + "0 0 * * * b\n")
    shells = [line for line in machine.crontab.read_text().splitlines() if line.startswith("SHELL")]
    assert shells == ["SHELL=/bin/bash", "SHELL=/bin/sh", "SHELL=/bin/bash"]
    assert install(fresh, "cron")["changed"] is False


def test_a_crontab_without_a_newline_at_its_end_gets_one(fresh: Shell, machine: Machine) -> None:
    machine.crontab.write_text("0 0 * * * a")
    install(fresh, "cron")
    assert machine.crontab.read_text().startswith("0 0 * * * a\n# >>> upm")


def test_several_projects_do_not_meet(fresh: Shell, another: Callable[[str], Shell], machine: Machine) -> None:
    same_name = another("fresh")
    for kind in ("cron", "systemd"):
        first, second = install(fresh, kind, "--user"), install(same_name, kind, "--user")
        assert (first["changed"], second["changed"]) == (True, True)
    assert len(list(machine.user_units.iterdir())) == 6
    assert machine.crontab.read_text().count(">>> upm fresh-") == 2
    fresh.json("schedule", "remove", "--yes")
    left = machine.crontab.read_text() + "".join(path.read_text() for path in machine.user_units.iterdir())
    assert len(list(machine.user_units.iterdir())) == 3
    assert str(same_name.folder) in left
    assert f"{fresh.folder} " not in left


def test_nothing_happens_without_a_yes(fresh: Shell, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.crontab.write_bytes(MINE)
    for words in (("install", "cron"), ("install", "systemd", "--user")):
        ran = fresh("schedule", *words)
        assert (ran.code, "error[UPM-E022]" in ran.err, "--yes" in ran.err) == (2, True, True)
        assert "\n+" in ran.err  # the difference was shown
        dry = fresh("schedule", *words, "--dry-run")
        assert dry.code == 0
        assert "nothing was changed" in dry.out
    monkeypatch.setattr(Context, "may_ask", True)
    for answer, code in (("n\n", 2), ("y\n", 0)):
        assert machine.crontab.read_bytes() == MINE
        assert not machine.user_units.exists()
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert fresh("schedule", "install", "cron").code == code
    assert machine.crontab.read_bytes() != MINE


def test_units_are_written_shown_enabled_and_removed(fresh: Shell, machine: Machine) -> None:
    said = install(fresh, "systemd", "--user")
    service, nightly, timer = (Path(row["path"]) for row in said["files"])
    assert {path.parent for path in (service, nightly, timer)} == {machine.user_units}
    assert stat.S_IMODE(service.stat().st_mode) == 0o644
    text = service.read_text()
    assert "WantedBy=default.target" in text
    assert "User=" not in text
    assert said["next"] == [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {service.name} {timer.name}",
    ]
    assert machine.asked == []
    assert install(fresh, "systemd", "--user", "--enable")["enabled"] is True
    assert machine.asked == [f"--user enable --now {service.name} {timer.name}"]
    wants = machine.user_units / "default.target.wants"
    wants.mkdir()
    (wants / service.name).symlink_to(service)
    (wants / "other.service").symlink_to("/nowhere")
    removed = fresh.json("schedule", "remove", "--yes", "--disable")
    assert (removed["disabled"], removed["next"]) == (True, [])
    assert machine.asked[1:] == [f"--user disable --now {service.name} {timer.name}", "--user daemon-reload"]
    assert [path.name for path in machine.user_units.rglob("*")] == ["default.target.wants", "other.service"]


def test_units_of_the_machine_are_those_that_show_prints_but_for_their_names(fresh: Shell, machine: Machine) -> None:
    said = install(fresh, "systemd", "--system")
    assert {Path(row["path"]).parent for row in said["files"]} == {machine.system_units}
    shown = fresh.json("schedule", "show", "systemd")["files"].values()
    bodies = [Path(row["path"]).read_text().split("\n", 2)[2] for row in said["files"]]
    assert bodies == list(shown)
    assert all(line.startswith("systemctl ") and "--user" not in line for line in said["next"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_takes_the_units(
    fresh: Shell, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin dir" / "upm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    for scope in ("--user", "--system"):
        files = [row["path"] for row in install(fresh, "systemd", scope)["files"]]
        assert verify(files) == ""


def verify(files: list[str]) -> str:
    """Return what systemd has to say about units of ours."""
    path = "/usr/bin:/bin:/usr/sbin:/sbin"
    done = subprocess.run(
        ["/usr/bin/env", "systemd-analyze", "verify", *files], env={"PATH": path}, capture_output=True, text=True
    )
    return "\n".join(line for line in done.stderr.splitlines() if "upm" in line)


def as_cron(line: str) -> str:
    """Return what cron hands to the shell: as do_command.c of Vixie cron does."""
    out, escaped = "", False
    for char in line.split(None, 5)[5]:
        if escaped:
            out = out[:-1] + char if char == "%" else out + char
            escaped = False
        elif char == "\\":
            out, escaped = out + char, True
        elif char == "%":
            break
        else:
            out += char
    return out


def run_all(crontab: str) -> int:
    """Run every line of a crontab as cron would; return how many there are."""
    lines = [line for line in crontab.splitlines() if line and not line.startswith("#")]
    for line in lines:
        subprocess.run(["/bin/sh", "-c", as_cron(line)], cwd="/", check=True, env={"PATH": "/usr/bin:/bin"})
    assert len(lines) >= 5
    return len(lines)


@pytest.mark.parametrize("name", BACKSLASHES)
def test_backslashes_arrive_as_they_are(name: str, tmp_path: Path) -> None:
    program, project = tmp_path / "bin" / name / "upm", tmp_path / name
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$2" >> {tmp_path}/args\n')
    program.chmod(0o755)
    count = run_all(
        schedule.cron_lines(schedule.Site(program=str(program), project=project, trainers=("a",), user="u"))
    )
    assert (tmp_path / "args").read_text().splitlines() == [str(project)] * count
    site = schedule.Site(program="/bin/sh", project=project, trainers=("a",), user="root")
    for each, text in schedule.units(site).items():
        (tmp_path / each).write_text(text)
        assert words_of_unit(text) == (str(project) if each.endswith(".service") else None)
    if shutil.which("systemd-analyze"):
        assert verify([str(tmp_path / each) for each in schedule.units(site)]) == ""


def words_of_unit(text: str) -> str | None:
    """Return what systemd passes after -C, by the rules of systemd.syntax and systemd.service."""
    found = re.search(r'^ExecStart=\S+ -C (?:"((?:[^"\\]|\\.)*)"|(\S+))', text, re.MULTILINE)
    if found is None:
        return None
    quoted = found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1])
    return quoted.replace("%%", "%").replace("$$", "$")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_path_arrives_as_it_is(
    name: str, another: Callable[[str], Shell], machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = another(name)
    program = shell.folder.parent / "bin" / name / "upm"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$2" >> {tmp_path}/args\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    install(shell, "cron")
    count = run_all(machine.crontab.read_text())
    assert (tmp_path / "args").read_text().splitlines() == [str(shell.folder)] * count
    if '"' in name:
        shell.refused(3, "UPM-E186", "schedule", "install", "systemd", "--system", "--yes")
        monkeypatch.setattr("sys.argv", ["/bin/upm"])
    said = install(shell, "systemd", "--system")
    service = unit(machine, said)
    assert re.fullmatch(r"upm-[A-Za-z0-9-]+-[0-9a-f]{8}\.service", service.name)
    if shutil.which("systemd-analyze", path="/usr/bin:/bin") and '"' not in name:
        assert verify([row["path"] for row in said["files"]]) == ""
        program.unlink()  # now systemd names the program that it has read
        assert f"Command {program} is not executable" in verify([str(service)])
    assert shell.json("schedule", "remove", "--yes")["changed"] is True
    assert not machine.crontab.exists()
    assert list(machine.system_units.iterdir()) == []


@pytest.mark.parametrize("name", ["two\nlines", "bell\x07", "r\rn", "\u202eback", "\u2028x"])
def test_a_path_that_is_no_line_is_refused(name: str, another: Callable[[str], Shell], machine: Machine) -> None:
    shell = another(name)
    for words in (("install", "cron", "--yes"), ("install", "systemd", "--yes"), ("show", "cron")):
        ran = shell("schedule", *words)
        assert (ran.code, "error[UPM-E186]" in ran.err, name in ran.err) == (3, True, False)
    assert not machine.crontab.exists()
    assert list(machine.system_units.iterdir()) == []


def test_what_somebody_edited_stays_unless_forced(fresh: Shell, machine: Machine) -> None:
    service = unit(machine, install(fresh, "systemd", "--user"))
    install(fresh, "cron")
    service.write_text(service.read_text().replace("RestartSec=5", "RestartSec=50"))
    for words in (("install", "systemd", "--user"), ("remove",), ("remove", "systemd")):
        ran = fresh.refused(5, "UPM-E187", "schedule", *words, "--yes")
        assert str(service) in ran.err
    assert "RestartSec=50" in service.read_text()
    assert machine.crontab.exists()
    dry = fresh("schedule", "remove", "--dry-run")
    assert f"! {service} was edited" in dry.out
    machine.crontab.write_text(machine.crontab.read_text().replace("30 2 * * *", "31 2 * * *"))
    fresh.refused(5, "UPM-E187", "schedule", "install", "cron", "--yes")
    assert install(fresh, "systemd", "--user", "--force")["files"][0] == {
        "kind": "systemd",
        "path": str(service),
        "change": "replace",
        "edited": True,
    }
    assert "RestartSec=5\n" in service.read_text()
    assert fresh.json("schedule", "remove", "--yes", "--force")["changed"] is True
    assert not service.exists()
    assert not machine.crontab.exists()


def test_a_file_of_that_name_that_is_not_ours_stays(fresh: Shell, machine: Machine) -> None:
    service = unit(machine, fresh.json("schedule", "install", "systemd", "--user", "--dry-run"))
    service.parent.mkdir(parents=True)
    service.symlink_to("/dev/null")  # as `systemctl mask` does
    fresh.refused(5, "UPM-E187", "schedule", "install", "systemd", "--user", "--yes")
    assert service.is_symlink()


def test_additions_beside_a_unit_stay_and_are_told(fresh: Shell, machine: Machine) -> None:
    service = unit(machine, install(fresh, "systemd", "--user"))
    extra = Path(f"{service}.d")
    extra.mkdir()
    ran = fresh("schedule", "remove", "--yes")
    assert f"{extra} stays" in ran.err
    assert extra.is_dir()


@pytest.mark.parametrize("damage", ["begin", "end", "twice", "order"])
def test_damaged_marks_are_told_and_nothing_is_guessed(fresh: Shell, machine: Machine, damage: str) -> None:
    install(fresh, "cron")
    begin, *body, end = machine.crontab.read_text().splitlines()
    lines = {
        "begin": [*body, end],
        "end": [begin, *body],
        "twice": [begin, *body, end] * 2,
        "order": [end, *body, begin],
    }[damage]
    machine.crontab.write_text("\n".join(lines) + "\n")
    before = machine.crontab.read_bytes()
    for words in (("install", "cron"), ("remove",)):
        fresh.refused(3, "UPM-E184", "schedule", *words, "--yes")
    assert machine.crontab.read_bytes() == before


def test_a_crontab_that_changes_meanwhile_is_not_written_over(
    fresh: Shell, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "confirm", lambda self, plan: machine.crontab.write_bytes(MINE))
    fresh.refused(7, "UPM-E189", "schedule", "install", "cron", "-q")
    assert machine.crontab.read_bytes() == MINE


def test_programs_that_are_missing_are_told_with_what_to_do(fresh: Shell, machine: Machine) -> None:
    machine.without("crontab")
    machine.without("systemctl")
    ran = fresh.refused(4, "UPM-E185", "schedule", "install", "cron", "--yes")
    assert "schedule install systemd" in ran.err
    ran = fresh.refused(4, "UPM-E185", "schedule", "install", "systemd", "--yes")
    assert "schedule install cron" in ran.err
    fresh.refused(4, "UPM-E185", "schedule", "remove", "cron", "--yes")
    assert fresh.json("schedule", "remove", "--yes")["files"] == []  # then nothing can be there


def test_a_crontab_that_this_user_may_not_have_is_an_error_in_its_words(fresh: Shell, machine: Machine) -> None:
    program = machine.folder / "bin" / "crontab"
    program.write_text("#!/bin/sh\necho 'You are not allowed to use this program (crontab)' >&2\nexit 1\n")
    ran = fresh.refused(1, "UPM-E013", "schedule", "install", "cron", "--yes")
    assert "You are not allowed to use this program" in ran.err
    assert install(fresh, "systemd", "--user")["changed"] is True  # needs no crontab


def test_systemctl_that_fails_is_told_with_what_is_left_to_type(fresh: Shell, machine: Machine) -> None:
    (machine.folder / "spool" / "fails").write_text("Failed to connect to bus\n")
    ran = fresh.refused(8, "UPM-E188", "schedule", "install", "systemd", "--user", "--enable", "--yes", "-q")
    assert "Failed to connect to bus" in ran.err
    assert "then: systemctl --user daemon-reload && systemctl --user enable --now upm-fresh-" in ran.err
    assert len(list(machine.user_units.iterdir())) == 3
    ran = fresh.refused(8, "UPM-E188", "schedule", "remove", "--disable", "--yes", "-q")
    assert "nothing was removed" in ran.err
    assert len(list(machine.user_units.iterdir())) == 3


def test_what_is_left_of_a_project_that_is_gone_can_be_removed(fresh: Shell, machine: Machine) -> None:
    install(fresh, "cron")
    install(fresh, "systemd", "--user")
    shutil.rmtree(fresh.folder)
    assert fresh("schedule", "install", "cron", "--yes").code == 4
    assert len(fresh.json("schedule", "remove", "--yes")["files"]) == 4
    assert not machine.crontab.exists()


def test_it_is_said_when_something_else_runs_the_project_too(fresh: Shell, machine: Machine) -> None:
    install(fresh, "cron")
    assert "the crontab has lines for this project too" in fresh("schedule", "install", "systemd", "--yes").err
    assert "runs this project too" in fresh("schedule", "install", "cron", "--yes").err


def test_lines_that_were_put_in_by_hand_are_told_of(fresh: Shell, machine: Machine) -> None:
    machine.crontab.write_text(fresh.json("schedule", "show", "cron")["files"]["upm.cron"])
    ran = fresh("schedule", "install", "cron", "--yes")
    assert "6 lines for this project stand elsewhere in the crontab of " in ran.err
    assert "elsewhere" not in fresh("schedule", "remove", "cron", "--yes").err


def test_units_of_a_user_who_does_not_linger_are_told_of(fresh: Shell, machine: Machine) -> None:
    words = ("schedule", "install", "systemd", "--user", "--yes")
    assert "loginctl enable-linger" in fresh(*words).err
    machine.folder.joinpath("linger").mkdir()
    machine.folder.joinpath("linger", fresh_owner(fresh)).touch()
    assert "linger" not in fresh(*words).err


def fresh_owner(shell: Shell) -> str:
    return pwd.getpwuid(shell.home.stat().st_uid).pw_name


@pytest.mark.skipif(os.getuid() != 0, reason="only root works for others")
def test_root_installs_for_the_user_whom_the_project_belongs_to(fresh: Shell, machine: Machine) -> None:
    os.chown(fresh.home, 1, 1)
    assert fresh_owner(fresh) == "daemon"
    install(fresh, "cron")
    assert (machine.folder / "spool" / "daemon").exists()
    assert not machine.crontab.exists()
    assert "\nUser=daemon\n" in unit(machine, install(fresh, "systemd")).read_text()
    ran = fresh.refused(2, "UPM-E020", "schedule", "install", "systemd", "--user", "--yes")
    assert "belongs to daemon" in ran.err


def test_units_may_write_where_adapters_and_snapshots_are(fresh: Shell, machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "the place"
    assert fresh("adapter", "add", "edge", "--path", str(place), "--tenant", "acme").code == 0
    text = unit(machine, install(fresh, "systemd", "--system")).read_text()
    assert f'ReadWritePaths={fresh.folder} "-{place}"\n' in text


def test_without_permission_it_says_so_before_it_asks(
    fresh: Shell, machine: Machine, as_user: Callable[..., tuple[int, str, str]]
) -> None:
    machine.user_units.mkdir(parents=True)
    machine.user_units.chmod(0o500)
    code, _, err = as_user(fresh.folder, "schedule", "install", "systemd", "--user")
    assert (code, "error[UPM-E012]" in err) == (1, True), err
    machine.user_units.chmod(0o700)


def test_a_program_that_is_nowhere_is_told_of(
    fresh: Shell, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["-m"])
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert "has to find 'upm' by itself" in fresh("schedule", "install", "cron", "--dry-run").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("install", "cron", "--system"), "crontab"),
        (("install", "cron", "--enable"), "--enable"),
        (("install", "systemd", "--user", "--system"), "one or the other"),
        (("remove", "--user", "--system"), "one or the other"),
        (("remove", "at"), "cron, systemd"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(fresh: Shell, machine: Machine, words: tuple[str, ...], said: str) -> None:
    ran = fresh("schedule", *words, "--yes")
    assert (ran.code, said in ran.err) == (2, True), ran.err


def test_the_fields_are_those_that_are_documented(fresh: Shell, machine: Machine) -> None:
    page = (ROOT / "docs/reference/json.md").read_text()
    for verb in ("install", "remove"):
        section = page.partition(f"## `upm schedule {verb}`\n")[2].partition("\n## ")[0]
        known = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
        said = install(fresh, "cron") if verb == "install" else fresh.json("schedule", "remove", "--yes")
        (row,) = said.pop("files")
        assert {*said} - {"schema_version"} | {f"files[].{key}" for key in row} == known


def test_in_a_pipe_it_is_text_and_other_formats_can_be_asked_for(fresh: Shell, machine: Machine) -> None:
    ran: Ran = fresh("schedule", "install", "cron", "--dry-run")
    assert ran.out.startswith("--- /dev/null\n+++ the crontab of ")
    assert json.loads(fresh("schedule", "install", "cron", "--dry-run", "-o", "jsonl").out)["dry_run"] is True
    machine.crontab.write_text("0 0 * * * \x1b[31mred\n")
    assert "\x1b" not in fresh("schedule", "install", "cron", "--dry-run").out

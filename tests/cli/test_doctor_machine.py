"""`upm doctor` on the machine around a project, what --fix repairs, and what --bundle takes along and leaves out."""

import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.ops import machine
from upm_cli.ops.project import init_project
from upm_cli.ops.redact import Redactor
from upm_cli.store import fsio, layout, lease, ledger, reserve, runfiles, statelock
from upm_cli.store.session import Store

HOUR_MS = 3_600_000
SECRET = "s3cr3tTOKENs3cr3tTOKENs3cr3tTOKENs3cr3tTOKEN12"


class Project:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.home, self.capsys = folder, folder / ".upm", capsys
        init_project(folder, SystemClock())

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        code = main(["-C", str(self.folder), "doctor", "--json", *words])
        return code, json.loads(self.capsys.readouterr().out)

    def status(self, name: str) -> str:
        _, told = self()
        return next(f"{found['status']}: {found['detail']}" for found in told["findings"] if found["name"] == name)

    def old(self, name: str, hours: float = 2) -> Path:
        path = self.home / name
        path.write_bytes(b"x")
        path.chmod(0o600)
        at_s = SystemClock().now_ms() / 1000 - hours * 3600
        os.utime(path, (at_s, at_s))
        return path


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path / "project", capsys)


def test_what_killed_processes_left_is_found_and_removed_and_that_is_on_record(project: Project) -> None:
    old = [project.old(".state.abcd.tmp"), project.old("run/.x.json.1234.tmp"), project.old(layout.NEXT)]
    young = project.old(".young.abcd.tmp", hours=0.5)
    assert project.status("leftovers").startswith("warn: 3 temporary files")
    code, told = project("--fix", "--dry-run")
    assert (code, {each["path"] for each in told["fixed"]}) == (0, {str(path) for path in old})
    assert all(path.exists() for path in old)
    code, told = project("--fix", "--reason", "after the power cut")
    assert (code, told["failed"]) == (0, 0)
    assert [path.exists() for path in (*old, young)] == [False, False, False, True]
    entry = ledger.read(project.home)[-1]
    assert (entry["action"], entry["details"]["reason"]) == ("doctor.fix", "after the power cut")
    assert set(entry["details"]["removed"]) == {str(path) for path in old}
    assert project("--fix")[1]["fixed"] == []
    assert ledger.read(project.home)[-1] == entry


def test_statuses_of_the_dead_go_and_those_of_the_living_of_failures_and_of_an_ordinary_end_stay(
    project: Project,
) -> None:
    now_ms = SystemClock().now_ms()
    for name, state, age_ms in (
        ("dead", "running", HOUR_MS),
        ("alive", "running", HOUR_MS),
        ("failed", "failed", HOUR_MS),
        ("stopped", "stopped", HOUR_MS),
    ):
        runfiles.write_status(project.home, name, {"lease": name, "state": state, "at_ms": now_ms - age_ms})
    runfiles.write_status(project.home, "odd", {"lease": "../..", "state": "running", "at_ms": 0})
    with lease.acquire(project.home, "alive", "upm train"):
        assert "1 status files of dead processes" in project.status("status_files")
        project("--fix")
    assert [status["worker"] for status in runfiles.read_statuses(project.home)] == [
        "alive",
        "failed",
        "odd",
        "stopped",
    ]


def test_modes_are_closed(project: Project) -> None:
    project.home.chmod(0o755)
    loose = project.home / layout.STATE
    loose.chmod(0o644)
    code, told = project()
    assert (code, told["failed"]) == (3, 1)
    assert project("--fix")[0] == 0
    assert stat.S_IMODE(project.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(loose.stat().st_mode) == 0o600


def test_links_are_not_followed(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / ".x.tmp").write_text("")
    os.utime(outside / ".x.tmp", (0, 0))
    (project.home / "link").symlink_to(outside)
    assert project("--fix")[1]["fixed"] == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_a_lock_that_is_held_for_long_names_who_to_look_at(project: Project) -> None:
    with statelock.hold(project.home, SystemClock(), limit_s=1, command="upm train main"):
        at_s = SystemClock().now_ms() / 1000 - 300
        os.utime(project.home / layout.LOCK, (at_s, at_s))
        assert f"by pid {os.getpid()} (upm train main)" in project.status("locks")
    assert project.status("locks") == "pass: the state is free; at work: nobody"


@pytest.mark.parametrize(("space", "inodes"), [((1 << 20, 1 << 40), (9, 10)), ((1 << 40, 1 << 41), (1, 1000))])
def test_a_disk_that_is_nearly_full_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch, space: tuple[int, int], inodes: tuple[int, int]
) -> None:
    monkeypatch.setattr(fsio, "disk_space", lambda folder: space)
    monkeypatch.setattr(fsio, "inodes", lambda folder: inodes)
    assert project.status("disk").startswith("fail")


def test_a_clock_that_was_set_back_is_noticed(project: Project) -> None:
    now_ms = SystemClock().now_ms()

    def write(at_ms: int) -> None:
        store = Store(project.home, ManualClock(at_ms))
        with store.write(actor="test") as tx:
            tx.ledger("count", "x", reason="")
        store.close()

    def found(at_ms: int) -> str:
        return next(one.status for one in machine.look(project.home, ManualClock(at_ms)) if one.name == "clock")

    for at_ms in (now_ms, now_ms + 1000):
        write(at_ms)
    assert found(now_ms + 60_000) == "pass"
    assert found(now_ms - 60_000) == "fail"
    write(now_ms - 5 * HOUR_MS)
    assert found(now_ms + 60_000) == "warn"


def test_crashes_are_told_of(project: Project) -> None:
    (project.home / "crash").mkdir(mode=0o700)
    project.old("crash/1.txt")
    assert project.status("crashes").startswith("warn: 1 crash files")


def members(path: Path) -> dict[str, bytes]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as packed:
        opened = {info.name: packed.extractfile(info) for info in packed}
        return {name: file.read() for name, file in opened.items() if file is not None}


def plant(project: Project) -> None:
    """Put a secret wherever one could get into a report by mistake."""
    home, folder = project.home, project.folder
    for path in (home / "keys/signing.json", folder / "hook-secret", folder / "token"):
        path.write_text(json.dumps({"private": SECRET}) if path.suffix else SECRET)
        path.chmod(0o600)
    (folder / "upm.yaml").write_text(
        f"# {SECRET}\nnotify:\n  webhooks:\n"
        f"  - {{name: ops, url: 'https://hooks.example/{SECRET}?key={SECRET}x', secret_file: hook-secret}}\n"
    )
    (home / "run/trainer-main.log").write_text(
        f"sent Authorization: Bearer {SECRET[::-1]}\nusing {SECRET.encode().hex()}\n"
    )
    (home / "crash").mkdir(mode=0o700)
    (home / "crash/1.txt").write_text(f"KeyError: {SECRET}\n  https://bob:{SECRET}@agent.example/x?token=abcdefgh123\n")
    runfiles.write_status(home, "odd", {"error": SECRET})
    store = Store(home, SystemClock())
    with store.write(actor="test") as tx:
        tx.ledger("count", SECRET, reason=f"whsec_{SECRET}")
    store.close()


@pytest.mark.parametrize("name", ["report.tar.gz", "report.zip"])
def test_a_bundle_helps_and_keeps_every_secret(project: Project, tmp_path: Path, name: str) -> None:
    plant(project)
    code, told = project("--bundle", str(tmp_path / name))
    found = members(tmp_path / name)
    assert code == 0
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert sorted(found) == [f"upm-report/{member}" for member in told["bundle_members"]]
    assert {"about.json", "doctor.json", "validate.json", "settings.json", "upm.yaml", "status.json"} <= set(
        told["bundle_members"]
    )
    assert {"ledger.jsonl", "files.txt", "logs/trainer-main.log", "crash/1.txt"} <= set(told["bundle_members"])
    whole = b"".join(found.values())
    for secret in (SECRET, SECRET[::-1], SECRET.encode().hex(), "abcdefgh123"):
        assert secret.encode() not in whole
    assert found["upm-report/crash/1.txt"].startswith(b"KeyError: [redacted]")
    assert b"https://hooks.example/[redacted]" in found["upm-report/settings.json"]
    assert json.loads(found["upm-report/about.json"])["packages"]["duckdb"]


def test_a_bundle_is_never_written_over_a_file_or_in_an_unknown_form(project: Project, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("mine")
    assert project("--bundle", str(tmp_path / "there.zip"))[0] == 2
    assert project("--bundle", str(tmp_path / "report.rar"))[0] == 2
    assert (tmp_path / "there.zip").read_text() == "mine"


def test_a_bundle_of_a_project_that_does_not_open_is_written_too(project: Project, tmp_path: Path) -> None:
    for state in [project.home / layout.STATE, *(project.home / layout.HISTORY).iterdir()]:
        state.unlink()
    (project.folder / "upm.yaml").write_text("drift_monitor: {x: [}\n")
    code, told = project("--bundle", str(tmp_path / "report.zip"), "--fix")
    assert (code, told["findings"][0]["status"]) == (9, "fail")
    assert b"can't" in members(tmp_path / "report.zip")["upm-report/validate.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api_key: abcdefgh12", "api_key: [redacted]"),
        ('"token": "abcdefgh12"', '"token": "[redacted]"'),
        ("token_file: /etc/upm/token", "token_file: /etc/upm/token"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "[redacted]"),
        ("GET https://a.example/x?sig=1 done", "GET https://a.example/x?[redacted] done"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_are_known_by_their_looks(text: str, said: str) -> None:
    assert Redactor([])(text) == said


def test_a_reserve_that_was_given_up_is_told_and_made_again(project: Project) -> None:
    assert project.status("reserve") == "pass: nothing is live; it is made with the first activation"
    assert reserve.keep(project.home)
    assert project.status("reserve") == "pass: 8 MiB are kept for a rollback on a full disk"
    assert reserve.give_up(project.home)
    assert project.status("reserve").startswith("warn: it was given up for a rollback")
    path = str(project.home / reserve.RESERVE)
    assert project("--fix", "--dry-run")[1]["fixed"] == [{"what": "made again", "path": path}]
    assert reserve.size_bytes(project.home) == 0
    assert project("--fix")[1]["fixed"] == [{"what": "made again", "path": path}]
    assert project.status("reserve").startswith("pass")
    assert ledger.read(project.home)[-1]["details"]["made_again"] == [path]

"""`upm validate` on what surrounds a project: people, adapters, input, webhooks, secrets, sockets, umask."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upm_cli.actors import current
from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.ops import listening
from upm_cli.ops.project import init_project

Check = dict[str, Any]
ME = current()


class Project:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        init_project(folder, SystemClock())

    def config(self, text: str) -> None:
        (self.folder / "upm.yaml").write_text(text)

    def check(self, name: str) -> Check:
        self.capsys.readouterr()
        code = main(["-C", str(self.folder), "validate", "--json"])
        answer = json.loads(self.capsys.readouterr().out)
        (found,) = [check for check in answer["checks"] if check["name"] == name]
        assert code == (3 if answer["failed"] else 0)
        assert "\n" not in found["detail"]
        return dict(found)


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path / "project", capsys)


@pytest.mark.parametrize(
    ("policy", "status", "said"),
    [
        (f"{{canary_tenants: [a], actors: {{{ME}: admin}}}}", "pass", "1 actors, with an admin; canary_tenants: a"),
        (f"{{canary_tenants: [a], actors: {{{ME}: operator}}}}", "fail", "nobody is an admin"),
        (f"{{canary_tenants: [a], actors: {{{ME}: admin}}, second_approver: true}}", "fail", "no second person"),
        (f"{{canary_tenants: [a], actors: {{{ME}: admin, no-body-1: viewer}}}}", "warn", "no-body-1 is no user"),
        (f"{{canary_tenants: [a], actors: {{{ME}: admin, root: boss}}}}", "warn", "has role 'boss', which is none"),
        ("{canary_tenants: []}", "warn", "there can be no canary"),
    ],
)
def test_a_policy_needs_an_admin_real_people_and_roles_and_tenants(
    project: Project, policy: str, status: str, said: str
) -> None:
    if ME == "root" and "root: boss" in policy:
        policy = "{canary_tenants: [a], actors: {root: admin, daemon: boss}}"
    project.config(f"policy: {policy}\n")
    found = project.check("policy")
    assert (found["status"], said in found["detail"]) == (status, True), found


def test_sources_that_are_not_there_fail_and_empty_globs_warn(project: Project) -> None:
    def trainers(*sources: str) -> None:
        project.config(f"supervisor: {{default_trainers: [{{name: main, sources: {list(sources)}}}]}}\n")

    (project.folder / "in.jsonl").write_text("")
    trainers("in.jsonl")
    assert project.check("sources")["status"] == "pass"
    trainers("in.jsonl", "later-*.jsonl")
    assert (project.check("sources")["status"], "later-" in project.check("sources")["detail"]) == ("warn", True)
    trainers("gone.jsonl")
    assert project.check("sources")["detail"] == f"main: there is no {project.folder}/gone.jsonl"


@pytest.fixture
def secret(project: Project) -> Path:
    path = project.folder / "secret"
    assert main(["-C", str(project.folder), "notify", "secret", str(path)]) == 0
    return path


def test_webhooks_are_looked_up_and_nothing_is_sent(project: Project, secret: Path) -> None:
    def webhook(url: str, secret_file: str = "secret") -> Check:
        project.config(f"notify: {{webhooks: [{{name: ops, url: '{url}', secret_file: {secret_file}}}]}}\n")
        return project.check("notifications")

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert webhook(f"http://127.0.0.1:{server.getsockname()[1]}/x")["status"] == "pass"
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "is inside a private network" in webhook("https://10.1.2.3/x")["detail"]
    assert "credentials" in webhook("https://169.254.169.254/x")["detail"]
    assert webhook("http://127.0.0.1/x", "gone")["status"] == "fail"
    unknown = webhook("https://no-such-host.invalid/x")
    assert (unknown["status"], "can't be looked up" in unknown["detail"]) == ("warn", True)
    secret.chmod(0o644)
    assert "others may read" in webhook("http://127.0.0.1/x")["detail"]
    assert "others may read" in project.check("security")["detail"]


def test_places_of_adapters_are_asked(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "place"
    project.config("supervisor: {default_trainers: [{name: main}]}\n")
    assert main(["-C", str(project.folder), "trainer", "add", "other"]) == 0
    assert main(["-C", str(project.folder), "adapter", "add", "edge", "--trainer", "main", "--path", str(place)]) == 0
    assert project.check("adapters")["detail"] == "all answer: 0 serve what they confirmed, 1 nothing yet"
    place.chmod(0o777)
    assert "can be written by everybody" in project.check("adapters")["detail"]
    place.rmdir()
    found = project.check("adapters")
    assert (found["status"], "is not there" in found["detail"]) == ("fail", True)


def test_what_others_may_change_is_no_place_for_roles(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "servers", list)  # those of other tests, or of other people
    assert project.check("security")["status"] == "pass"
    (project.folder / "upm.yaml").chmod(0o666)
    assert "everybody may write" in project.check("security")["detail"]
    (project.folder / "upm.yaml").chmod(0o644)
    key = project.folder / ".upm/keys/one"
    key.write_text("")
    key.chmod(0o640)
    assert f"others may read {key} (mode 0640)" in project.check("security")["detail"]


def test_a_umask_that_locks_the_owner_out_fails(project: Project) -> None:
    before = os.umask(0o777)
    try:
        assert listening.umask() == 0o777
        found = project.check("security")
    finally:
        os.umask(before)
    assert "umask 0777 takes rights from the owner" in found["detail"]
    assert listening.umask() == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A process that looks like upm and listens to everybody."""
    program = tmp_path / "upm"
    program.write_text(
        "import socket, sys\nwith socket.create_server(('0.0.0.0', 0)) as s:\n"
        " print(s.getsockname()[1], flush=True)\n sys.stdin.read()\n"
    )
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())
        child.communicate()


def test_a_server_that_others_can_reach_is_a_warning(project: Project, server: tuple[int, int]) -> None:
    pid, port = server
    assert (pid, "0.0.0.0", port, True) in [(s.pid, s.host, s.port, s.open) for s in listening.servers()]
    found = project.check("security")
    assert (found["status"], f"listens on 0.0.0.0:{port}" in found["detail"]) == ("warn", True)


def test_a_system_without_proc_has_no_servers_to_tell_of(tmp_path: Path) -> None:
    assert listening.servers(tmp_path) == []

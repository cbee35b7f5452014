"""Who may do what, command by command: denied unless the role of the operating system's user allows it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli import actors
from upm_cli.clock import ManualClock
from upm_cli.core.records import Trainer
from upm_cli.store import snapshots, trainers

ME = actors.current()
Paced = Any
OPERATOR = {"operator", "admin"}
ADMIN = {"admin"}
ANYBODY = {"nobody listed", "viewer", "approver", "operator", "admin"}

#: Command → the roles that may. Every command here can be done in the project of the fixture.
MATRIX: list[tuple[tuple[str, ...], set[str]]] = [
    (("rollout", "promote", "main", "--yes"), OPERATOR),
    (("rollout", "pause", "main"), OPERATOR),
    (("rollout", "abort", "main", "--yes"), OPERATOR),
    (("rollout", "tick", "main"), OPERATOR),
    (("rollout", "start", "second"), OPERATOR),
    (("rollout", "freeze", "main", "--reason", "x"), OPERATOR),
    (("rollout", "unfreeze", "--all"), ADMIN),
    (("rollout", "sign-off", "runbook", "main"), OPERATOR),
    (("rollout", "sign-off", "runbook", "main", "--withdraw"), OPERATOR),
    (("tenant", "allow", "acme", "main", "--yes"), OPERATOR),
    (("tenant", "deny", "acme", "main", "--yes"), OPERATOR),
    (("tenant", "clear", "acme", "main", "--yes"), OPERATOR),
    (("activate", "main", "1", "--to-stage", "shadow"), ANYBODY),
    (("gate", "override", "evidence", "main", "--reason", "x"), ADMIN),
    (("snapshot", "release", "main", "3", "--reason", "x"), ADMIN),
    (("quarantine", "release", "main@3", "--reason", "x"), ADMIN),
    (("keys", "init"), ADMIN),
    (("keys", "list"), ANYBODY),
    (("pause", "main"), OPERATOR),
    (("resume", "main"), OPERATOR),
    (("rollout", "status", "main"), ANYBODY),
    (("rollout", "plan", "main"), ANYBODY),
    (("rollout", "history", "main"), ANYBODY),
    (("rollout", "readiness", "main"), ANYBODY),
    (("tenant", "route", "acme", "main"), ANYBODY),
    (("tenant", "list", "main"), ANYBODY),
    (("gate", "overrides"), ANYBODY),
    (("gate", "explain"), ANYBODY),
    (("quarantine", "list"), ANYBODY),
    (("drill", "rollback", "main"), ANYBODY),
    (("rollback", "main", "--to", "1", "--yes"), ANYBODY),
    (("adapter", "add", "edge", "--trainer", "main", "--path", "{models}"), OPERATOR),
    (("adapter", "list"), ANYBODY),
    (("sync", "run"), OPERATOR),
    (("sync", "run", "--lower-epoch", "--reason", "x"), ADMIN),
    (("sync", "retry"), OPERATOR),
    (("sync", "collect"), OPERATOR),
    (("sync", "status"), ANYBODY),
    (("sync", "verify"), ANYBODY),
]
ROLES = ["nobody listed", "viewer", "approver", "operator", "admin"]


def config(role: str) -> str:
    listed = "{somebody-else: admin}" if role == "nobody listed" else f"{{{ME}: {role}}}"
    return (
        "supervisor: {default_trainers: [{name: main}, {name: second}]}\n"
        f"policy: {{canary_tenants: ['*'], actors: {listed}}}\n"
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where the project at stage 1 is kept once it was made; see `at_stage_1`."""
    return {"folder": tmp_path_factory.mktemp("roles") / "project"}


@pytest.fixture
def at_stage_1(paced: Paced, template: dict[str, Any]) -> Callable[[str], Paced]:
    """Returns the project with a rollout in its first canary, and a role for the user."""
    kept: Path = template["folder"]
    if not kept.exists():
        paced.serve(1)
        paced.json("rollout", "start", "main", "2")
        paced.go(1)
        paced.clock.advance(86_400)
        paced.prove()
        paced.learn()
        with paced.store as store, store.write() as tx:
            snapshots.put(tx, replace(snapshots.get(tx, "main", 3), quarantined=True, quarantine_reason="made up"))
            trainers.put(tx, Trainer(name="second", stream="second"))
        template["clock"] = (paced.clock.now_ms(), paced.clock.monotonic_s())
        shutil.copytree(paced.folder, kept)

    def give(role: str) -> Paced:
        shutil.rmtree(paced.folder)
        shutil.copytree(kept, paced.folder)
        paced.clock = ManualClock(*template["clock"])
        paced.write(config(role))
        return paced

    return give


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_it_may_and_nothing_else(role: str, at_stage_1: Callable[[str], Paced]) -> None:
    project = at_stage_1(role)
    before = None
    for command, roles in MATRIX:
        words = tuple(word.format(models=project.folder.parent / "models") for word in command)
        if role in roles:
            project = at_stage_1(role)
            ran = project(*words)
            assert ran.code in (0, 6), (role, words, ran.err)
            project = at_stage_1(role)
            before = None
            continue
        before = project.ledger() if before is None else before
        code, error = project.error(*words)
        assert (code, error["code"]) == (5, "UPM-E051"), (role, words, error)
        assert error["context"]["gate"] in ("policy", "role")
        assert "policy.actors" in error["hint"]
        told = [entry["action"] for entry in project.ledger()[len(before) :]]
        assert set(told) <= {"snapshot.refuse"}, words  # a refused activation is on the record


def test_without_any_actor_the_owner_of_the_state_is_admin(paced: Paced) -> None:
    for words in (("rollout", "start"), ("rollout", "freeze", "--reason", "x"), ("rollout", "unfreeze")):
        assert paced(*words).code == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give the folder away")
def test_without_any_actor_somebody_else_is_a_viewer(paced: Paced) -> None:
    os.chown(paced.folder / ".upm", 65534, 65534)
    code, error = paced.error("rollout", "start")
    assert (code, error["context"]["role"]) == (5, "viewer")


@pytest.mark.parametrize("variable", ["USER", "LOGNAME", "SUDO_USER", "UPM_ACTOR", "UPM_USER"])
def test_no_variable_makes_anybody_somebody_else(paced: Paced, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paced.write(config("nobody listed"))
    monkeypatch.setenv(variable, "somebody-else")
    assert paced.error("rollout", "start", "main")[1]["context"]["actor"] == ME


def test_no_flag_names_another_actor(paced: Paced) -> None:
    for flag in ("--actor", "--as", "--user", "--role"):
        assert paced("rollout", "start", "main", flag, "somebody-else").code == 2


def test_an_override_of_the_policy_gives_no_right_to_who_has_none(at_stage_1: Callable[[str], Paced]) -> None:
    project = at_stage_1("admin")
    given = project.json("gate", "override", "policy", "main", "--reason", "launch", "--expires", "4h")
    text = config("admin").replace(f"{{{ME}: admin}}", f"{{{ME}: viewer, boss: admin}}")
    project.write(text)
    listed = project.json("gate", "overrides")["overrides"]
    assert [(row["override_id"], row["in_force"]) for row in listed] == [(given["override_id"], False)]
    assert project.error("activate", "main", "1", "--to-stage", "canary")[0] == 5


def test_a_second_approver_is_another_person(paced: Paced) -> None:
    paced.write(
        "supervisor: {default_trainers: [{name: main}]}\n"
        f"policy: {{canary_tenants: ['*'], second_approver: true, actors: {{{ME}: admin}}}}\n"
    )
    given = paced.json("gate", "override", "freeze", "main", "--reason", "launch")
    assert given["waits_for_approval"] is True
    (row,) = paced.json("gate", "overrides")["overrides"]
    assert (row["in_force"], row["waits_for"].startswith("a second person")) == (False, True)
    code, error = paced.error("gate", "approve", given["override_id"])
    assert (code, error["code"]) == (5, "UPM-E059")
    code, error = paced.error(
        "activate", "main", "2", "--to-stage", "canary", "--override", "--reason", "now", "--expires", "1h"
    )
    assert (code, error["code"]) == (5, "UPM-E059")
    assert "waits for a second person" in error["detail"]

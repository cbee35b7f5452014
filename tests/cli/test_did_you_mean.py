"""Every name that a person types gets the nearest one when it is mistyped, and the same exit code as any wrong name."""

from pathlib import Path
from typing import Any

import pytest

from upm_cli.nearest import choices, did_you_mean, nearest

Shell = Any
HOOK = "notify: {webhooks: [{name: operators, url: 'https://hooks.example/x'}]}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def project(trained: Shell, place: Path) -> Shell:
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write(HOOK)
    more = ["--path", str(place), "--tenant", "acme"]
    assert trained("adapter", "add", "edge-berlin", *more).code == 0
    return trained


@pytest.mark.parametrize(
    ("words", "code", "meant"),
    [
        (("trainr", "list"), 2, "upm trainer"),
        (("drill", "rollbakc"), 2, "upm drill rollback"),
        (("trainer", "show", "mian"), 4, "'main'"),
        (("rollback", "mian", "--yes"), 4, "'main'"),
        (("activate", "main", "latset"), 2, "'latest'"),
        (("activate", "main", "--to-stage", "canry"), 2, "'canary'"),
        (("adapter", "show", "edge-berlni"), 4, "'edge-berlin'"),
        (("sync", "verify", "edge-berlni"), 4, "'edge-berlin'"),
        (("adapter", "remove", "edge-berlin", "--tenant", "acne", "--yes"), 4, "'acme'"),
        (("adapter", "add", "x", "--kind", "directry", "--path", "y"), 2, "'directory'"),
        (("notify", "test", "operatosr"), 4, "'operators'"),
        (("gate", "explain", "quarantne"), 4, "'quarantine'"),
        (("gate", "override", "frezee", "main", "--reason", "x"), 5, "'freeze'"),
        (("explain", "quarantne"), 4, "'quarantine'"),
        (("explain", "UPM-F070"), 4, "UPM-"),
        (("drill", "rollout", "--harm", "canary 2%"), 2, "'canary "),
        (("events", "--type", "ai.upm.quarantin"), 2, "did you mean"),
        (("audit", "list", "--type", "adapter.ad"), 2, "'adapter.add'"),
        (("config", "show", "drift_monitor.drift_threshhold"), 4, "'drift_monitor.drift_threshold'"),
        (("--set", "drift_monitor.drift_threshhold=1", "status"), 3, "'drift_monitor.drift_threshold'"),
        (("trainer", "add", "x", "--mode", "shadwo"), 2, "'shadow'"),
        (("rollout", "sign-off", "runbok", "main"), 2, "'runbook'"),
        (("rollout", "readiness", "main", "--require", "prodution"), 2, "'production'"),
        (("rollout", "status", "main", "--until", "healty"), 2, "'healthy'"),
        (("schedule", "show", "crom"), 2, "'cron'"),
        (("schedule", "install", "sytemd"), 2, "'systemd'"),
        (("help", "glosary"), 4, "'glossary'"),
        (("help", "rollbakc"), 4, "'rollback'"),
        (("help", "runbook", "quarantin"), 4, "'quarantine'"),
        (("help", "snapshot", "lst"), 4, "'list'"),
        (("help", "config", "drift_montior"), 4, "'drift_monitor'"),
        (("completion", "show", "bsh"), 2, "'bash'"),
        (("status", "-o", "jsno"), 2, "'json"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_one(project: Shell, words: tuple[str, ...], code: int, meant: str) -> None:
    ran = project(*words)
    assert (ran.code, "did you mean" in ran.err.lower(), meant in ran.err) == (code, True, True), ran.err


def test_a_version_and_a_stream_that_are_not_there_get_the_nearest(trained: Shell) -> None:
    ran = trained("activate", "main", "v44")
    assert (ran.code, "did you mean 'v4'?" in ran.err) == (4, True)


def test_topics_of_webhooks_are_guessed_too(fresh: Shell) -> None:
    with (fresh.folder / "upm.yaml").open("a") as file:
        file.write("notify: {webhooks: [{name: ops, url: 'https://a.example/x', topics: [rolback]}]}\n")
    ran = fresh("status")
    assert (ran.code, "did you mean 'rollback'?" in ran.err) == (3, True)


def test_words_that_are_like_nothing_get_no_guess() -> None:
    assert nearest("xyz", ["main", "other"]) is None
    assert did_you_mean("xyz", []) == ""
    assert choices("xyz", ["main", "other"]) == "one of main, other"
    assert choices("MIAN", ["main", "other"]) == "did you mean 'main'? one of main, other"


def test_there_is_one_way_to_guess() -> None:
    root = Path(__file__).resolve().parents[2] / "upm_cli"
    found = [path.name for path in root.rglob("*.py") if "get_close_matches" in path.read_text()]
    assert found == ["nearest.py"]

"""Stopping `upm train` and its workers from outside: everything is committed, nobody is left behind."""

import json
import os
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

Site = Any


def following(site: Site, windows: int = 400) -> Any:
    """Start training that follows a file, and wait until it has learned whole batches of it."""
    source = site.write("in.jsonl", 0, windows)
    process = site.start("train", "main", "--source", str(source), "--follow", "--json")
    site.wait_until(lambda: site.counts()["trained"] >= 32)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_commits_what_was_read_and_ends_with_128_plus_the_signal(site: Site, number: int, code: int) -> None:
    process = following(site)
    site.wait_until(lambda: site.counts()["read"] == 400)
    workers = site.workers(process)
    assert workers.keys() == {"ingest", "trainer", "drift"}
    ended, out, err = site.end(process, number)
    assert ended == code
    assert "error" not in err
    assert not any(site.is_running(pid) for pid in workers.values())
    said = json.loads(out)
    assert said["windows"] == site.counts()
    assert said["windows"]["read"] == 400
    assert said["weights_sha256"] == site.weights()

    after, out, err = site.run("train", "main", "--source", str(site.folder / "in.jsonl"), "--once", "--json")
    assert after == 0, err
    assert json.loads(out)["windows"]["trained"] == 400


def test_a_stopped_run_that_goes_on_knows_what_an_uninterrupted_one_knows(new_site: Callable[[str], Site]) -> None:
    calm, stopped = new_site("calm"), new_site("stopped")
    source = calm.write("in.jsonl", 0, 6000)
    words = ("train", "main", "--source", str(source), "--once", "-q", "--set", "ingest.chunk_bytes=4096")
    assert calm.run(*words)[0] == 0
    process = stopped.start(*words)
    stopped.wait_until(lambda: stopped.counts()["trained"] > 0 or process.poll() is not None)
    code, _, err = stopped.end(process, signal.SIGTERM)
    assert code in (0, 143), err
    assert stopped.run(*words)[0] == 0
    assert stopped.counts()["trained"] == 6000
    assert stopped.logged() == calm.logged()


def test_workers_do_not_outlive_a_killed_command(site: Site) -> None:
    process = following(site)
    workers = site.workers(process)
    assert len(workers) == 3
    process.kill()
    process.communicate()
    site.wait_until(lambda: not any(site.is_running(pid) for pid in workers.values()), "orphans have ended")
    code, out, err = site.run("train", "main", "--source", str(site.folder / "in.jsonl"), "--once", "--json")
    assert code == 0, err
    assert json.loads(out)["windows"]["trained"] == 400


@pytest.mark.parametrize("kind", ["ingest", "trainer", "drift"])
def test_a_killed_worker_is_started_again_and_the_run_goes_on(site: Site, kind: str) -> None:
    process = following(site)
    victim = site.workers(process)[kind]
    os.kill(victim, signal.SIGKILL)
    site.wait_until(lambda: site.workers(process).get(kind, victim) != victim, f"{kind} runs again")
    site.write("in.jsonl", 400, 800)
    site.wait_until(lambda: site.counts()["trained"] >= 768)
    code, out, err = site.end(process, signal.SIGTERM)
    assert code == 143, err
    said = json.loads(out)
    assert said["restarts"] == 1
    assert said["windows"]["duplicate"] == 0
    assert site.logged() == [f"w{i:06d}" for i in range(len(site.logged()))]


def test_a_second_run_of_the_same_trainer_is_refused_at_once_and_names_the_first(site: Site) -> None:
    process = following(site)
    source = str(site.folder / "in.jsonl")
    code, out, err = site.run("train", "main", "--source", source, "--once")
    assert (code, out) == (7, "")
    first = err.splitlines()[0]
    assert first.startswith("error[UPM-E07")
    named = re.search(r"pid (\d+)", err)
    assert named
    assert int(named[1]) == process.pid
    assert f"upm train main --source {source} --follow" in err
    assert process.poll() is None, "the first run is not disturbed"
    assert site.end(process, signal.SIGTERM)[0] == 143


def test_training_another_trainer_of_the_same_project_is_not_refused(site: Site) -> None:
    process = following(site)
    assert site.run("trainer", "add", "other", "-q")[0] == 0
    other = site.write("other.jsonl", 0, 100)
    code, out, err = site.run("train", "other", "--source", str(other), "--once", "--json")
    assert code == 0, err
    assert json.loads(out)["windows"]["trained"] == 100
    assert site.end(process, signal.SIGTERM)[0] == 143


def test_a_pause_holds_a_running_trainer_and_a_resume_lets_it_go_on(site: Site) -> None:
    process = following(site)
    code, _, err = site.run("pause", "main", "--reason", "labels look wrong", "-q")
    assert code == 0, err
    status = site.home / "run" / "trainer-main.json"
    site.wait_until(lambda: json.loads(status.read_text())["state"] == "paused")
    held = site.counts()["trained"]
    site.write("in.jsonl", 400, 900)
    site.wait_until(lambda: site.counts()["read"] == 900, "windows are still logged")
    site.wait_until(lambda: site.counts()["pending"] >= 900 - held)
    assert site.counts()["trained"] == held
    shown = json.loads(site.run("trainer", "show", "main", "--json")[1])
    assert (shown["state"], shown["pause_reason"]) == ("paused", "labels look wrong")

    assert site.run("resume", "main", "-q")[0] == 0
    site.wait_until(lambda: site.counts()["trained"] >= 864)
    assert site.end(process, signal.SIGTERM)[0] == 143


def test_a_paused_trainer_is_not_trained_by_a_new_run(site: Site) -> None:
    source = site.write("in.jsonl", 0, 100)
    assert site.run("pause", "main", "--reason", "holiday", "-q")[0] == 0
    code, out, err = site.run("train", "main", "--source", str(source), "--once")
    assert (code, out) == (5, "")
    assert "holiday" in err
    assert "upm resume main" in err
    assert site.counts()["trained"] == 0

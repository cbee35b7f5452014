"""`python -m upm_cli.agent watch`: what an agent at a place would serve, said whenever that changes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upm_cli.agent.watch import WatchOptions, watch

Site = Any  # of conftest.py
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_each_change_is_told_once_and_the_end_of_input_ends_it(site: Site) -> None:
    publisher = site.publisher()
    read, write = os.pipe()
    told: list[Mapping[str, Any]] = []

    def tell(line: Mapping[str, Any]) -> None:
        told.append(line)
        if len(told) == 1:
            site.publish(publisher, 1)
        else:
            os.close(write)

    site.publish(publisher, 0)
    options = WatchOptions(location=str(site.root), cache=site.folder / "own", name="eye", every_s=0.01)
    assert watch(options, tell, read) == 0
    os.close(read)
    assert [(line["agent"], line["version"], line["ring"]) for line in told] == [
        ("eye", 1, "global"),
        ("eye", 2, "global"),
    ]


def test_it_runs_as_a_program_and_waits_for_a_first_model(site: Site) -> None:
    site.root.mkdir(mode=0o700, exist_ok=True)
    about = ["watch", str(site.root), "--trainer", "main", "--cache", str(site.folder / "own"), "--every-s", "0.01"]
    with subprocess.Popen(
        [sys.executable, "-m", "upm_cli.agent", *about], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=HERE
    ) as process:
        site.publish(site.publisher(), 0)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["version"] == 1
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def test_a_place_that_can_not_be_an_agents_is_refused_in_one_line(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "upm_cli.agent", "watch", "ftp://example.org/models"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=HERE,
        check=False,
    )
    assert done.returncode in (2, 4, 5), done.stderr
    assert done.stderr.startswith("error[UPM-E"), done.stderr
    assert "Traceback" not in done.stderr

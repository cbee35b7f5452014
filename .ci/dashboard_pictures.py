"""Make the pictures of the dashboard in docs/images: a day and a half of three trainers, and three screens of it.

    python .ci/dashboard_pictures.py [--project DIR] [--to docs/images] [--check]

The windows are made up; everything else is what upm makes of them: the workers' own code takes in, learns and judges
hour after hour on a clock that is moved, so that the same pictures come out each time. Only that they seem to be
running is staged, as no process works on a clock that stands still. `--check` makes them elsewhere and compares words.
"""

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import numpy as np

from upm_cli.agent import Agent
from upm_cli.app import main as upm
from upm_cli.clock import ManualClock
from upm_cli.config.load import load
from upm_cli.errors import UpmError
from upm_cli.ids import iso, uuid7
from upm_cli.ops import rollout, trainers
from upm_cli.store import lease, runfiles
from upm_cli.store.session import Store
from upm_cli.tui.app import Dashboard
from upm_cli.tui.project import Project
from upm_cli.workers import context, drift_monitor, ingest, lifeline, trainer

START_MS = 1_767_571_200_000  # 2026-01-05T00:00Z
HOUR_MS = 3_600_000
HOURS = 36
ACTOR = "ada"  # whoever makes the pictures
CONFIG = f"""\
supervisor:
  default_trainers: [{{name: search, mode: active}}, {{name: main, mode: active}}, {{name: fraud-eu, mode: shadow}}]
trainer_worker: {{snapshot_interval: 600}}
learner: {{task: regression}}
drift_monitor: {{sample_size: 100}}
evidence: {{loss_scale: 1.0}}
rollout:
  stages:
    [shadow, canary 1% for 2h, canary 5% for 3h, canary 10% for 6h, canary 25% for 12h, global 50% for 24h,
     global 75% for 24h, global 100%]
policy: {{min_shadow_hours: 0, readiness_quiet_hours: 0, canary_tenants: ["*"], actors: {{{ACTOR}: admin}}}}
"""
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka", "tyrell", "cyberdyne")


@dataclass(frozen=True)
class Story:
    """What the windows of one trainer are like. `noise` of the labels; from `breaks_at` on (hours) they are wrong."""

    name: str
    seed: int
    noise: float
    per_hour: int = 150
    ends_at: int = HOURS
    breaks_at: float | None = None


STORIES = (
    Story("search", 1, 0.055, breaks_at=34.0),
    Story("main", 2, 0.042, per_hour=600),
    Story("fraud-eu", 3, 0.033, ends_at=30),
)


class Ended(lifeline.Upstream):
    """An upstream that has nothing more."""

    def closed(self) -> bool:
        return True


def windows(story: Story, hour: int) -> Iterator[str]:
    """Yield the windows of one hour as JSON lines."""
    chance = np.random.default_rng([story.seed, hour])
    weights = np.random.default_rng(story.seed).normal(0, 0.12, 6)
    for n in range(story.per_hour):
        at = hour + n / story.per_hour
        day = 1 + 0.45 * math.sin(2 * math.pi * (at - 9) / 24) + 0.15 * math.sin(at * 1.9)
        values = chance.normal(0, 1, 6)
        broken = story.breaks_at is not None and at >= story.breaks_at
        matters = min(1.0, 0.1 + at / 10) * (-0.4 if broken else 1.0)  # at first it is hardly more than noise
        truth = float(values @ weights) * matters + chance.normal(0, story.noise * day)
        start_ms = START_MS + round(at * HOUR_MS)
        features = {f"{name}": round(float(value), 4) for name, value in zip(_NAMES, values, strict=True)}
        features["latency_ms"] = round(float(40 + 8 * chance.normal() + (25 if broken else 0)), 2)
        yield json.dumps(
            {
                "window_id": f"{story.name}-{hour:03}-{n:04}",
                "window_start": iso(start_ms),
                "window_end": iso(start_ms + 20_000),
                "tenant_id": TENANTS[int(chance.integers(len(TENANTS)))],
                "features": features,
                "label": round(truth, 4),
            }
        )


_NAMES = ("ctr", "dwell", "price", "recency", "depth", "clicks")


def make(folder: Path) -> ManualClock:
    """Make the project in `folder` and let its day and a half pass; returns the clock at the end of it."""
    clock = ManualClock(START_MS - 60_000)
    with contextlib.redirect_stdout(io.StringIO()):
        if upm(["init", str(folder), "-q"], clock=clock):
            raise SystemExit("upm init failed")
    (folder / "upm.yaml").write_text(CONFIG)
    (folder / "in").mkdir()
    for hour in range(HOURS):
        clock.advance((START_MS + (hour + 1) * HOUR_MS - clock.now_ms()) / 1000)
        for story in STORIES:
            if hour < story.ends_at:
                for part, share in enumerate(PARTS if hour == story.breaks_at else (1.0,)):
                    learn(folder, clock, story, hour, part, share)
                    if share < 1:
                        act(folder, clock, hour - 1)
        if hour != STORIES[0].breaks_at - 1:
            act(folder, clock, hour)
    follow(folder, clock)
    return clock


def follow(folder: Path, clock: ManualClock) -> None:
    """Let agents of two tenants load what is delivered and say so; the third has none yet."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        upm(["sync", "run", "-C", str(folder), "-q"], clock=clock)
        for name in ("acme", "globex"):
            kept = folder.parent / name
            with Agent.open(folder.parent / "models", tenant=name, name=f"{name}-1", cache=kept, clock=clock):
                pass
        upm(["sync", "run", "-C", str(folder), "-q"], clock=clock)


def learn(folder: Path, clock: ManualClock, story: Story, hour: int, part: int, share: float) -> None:
    """Let the workers of one trainer take in, learn and judge the first `share` of an hour, or its rest."""
    name = story.name
    source = folder / "in" / f"{name}-{hour:03}-{part}.jsonl"
    lines = list(windows(story, hour))
    cut = round(PARTS[0] * len(lines))
    shown = lines[:cut] if share < 1 else lines[cut:] if part else lines
    source.write_text("".join(f"{line}\n" for line in shown))
    project = context.Project(folder=folder)
    workers = {
        kind: context.Worker.open(f"{kind}-{name}", project, clock, lifeline.Stop())
        for kind in ("ingest", "trainer", "drift")
    }
    try:
        trainers.ensure(workers["ingest"].store, clock, workers["ingest"].settings, name, actor=ACTOR)
        ingest.run(workers["ingest"], name, [str(source)], "auto", follow=False)
        trainer.run(workers["trainer"], name, Ended())
        drift_monitor.run(workers["drift"], name, Ended())
    finally:
        for worker in workers.values():
            worker.store.close()


def act(folder: Path, clock: ManualClock, hour: int) -> None:
    """Do what people do to the project at some hours."""
    for at, words in DEEDS:
        if at == hour:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                upm([*(word.format(folder) for word in words), "-C", str(folder), "-q"], clock=clock)
    settings = load(folder / "upm.yaml", overrides=(), environ={}).settings
    store = Store(folder / ".upm", clock)
    try:
        if hour == 14:
            rollout.start(store, clock, settings, "main", actor=ACTOR, reason="the new ranking features")
    except UpmError as exc:
        raise SystemExit(f"hour {hour}: {exc.message}") from exc
    finally:
        store.close()


PARTS = (0.2, 1.0)  # the hour in which it breaks comes in two parts, and somebody is in a hurry in between
_TENANTS = ("--tenant", "acme", "--tenant", "globex", "--tenant", "hooli")
_YES = ("--override", "--expires", "1h", "--reason")
DEEDS: Sequence[tuple[int, tuple[str, ...]]] = (
    (8, ("activate", "search", "latest", "--to-stage", "global", *_YES, "first model of the season")),
    (8, ("activate", "main", "latest", "--to-stage", "global", *_YES, "first model of the season")),
    (20, ("activate", "search", "latest", "--to-stage", "global", *_YES, "a week of canary in staging")),
    (21, ("snapshot", "pin", "search", "active", "--reason", "the one in the report")),
    (20, ("adapter", "add", "edge", "--path", "{}/../models", "--trainer", "search", *_TENANTS)),
    (30, ("pause", "fraud-eu", "--reason", "labels are late, ticket 4711", "--yes")),
    (33, ("snapshot", "create", "search")),
    (33, ("activate", "search", "latest", "--to-stage", "global", *_YES, "nightly job")),
)


@contextlib.contextmanager
def running(folder: Path, clock: ManualClock) -> Iterator[None]:
    """Let the workers of two trainers seem to run: they hold their leases, and their status files are new."""
    home, names = folder / ".upm", ("search", "main")
    rates = {"search": (655.0, 0), "main": (812.0, 12)}
    with contextlib.ExitStack() as stack:
        pids = itertools.count(901)
        for name in names:
            stack.enter_context(lease.acquire(home, f"train-{name}", f"upm train {name} --follow"))
            for kind in ("ingest", "trainer", "drift"):
                worker = f"{kind}-{name}"
                stack.enter_context(lease.acquire(home, worker, f"upm {kind} worker of {name}"))
                status = {
                    "lease": worker,
                    "pid": next(pids),
                    "trainer": name,
                    "at_ms": clock.now_ms() - 400,
                    "done": 5400,
                }
                state = {"ingest": "following", "trainer": "training", "drift": "judging"}[kind]
                rate, lag = rates[name]
                runfiles.write_status(home, worker, {**status, "state": state, "rate": rate, "lag": lag, "loss": 0.004})
        yield


async def picture(folder: Path, clock: ManualClock, size: tuple[int, int], keys: Sequence[str], screen: str) -> str:
    """Return the SVG of the dashboard after `keys`."""
    settings = load(folder / "upm.yaml", overrides=(), environ={}).settings
    store = Store(folder / ".upm", clock)
    project = Project(
        store=store, clock=clock, settings=settings, actor=ACTOR, folder=Path("/srv/shop"), program=("upm",)
    )
    app = Dashboard(project, screen=screen)
    async with app.run_test(size=size) as pilot:
        for key in ("", *keys):
            if key:
                await pilot.press(key)
            for _ in range(500):
                await pilot.pause(0.02)
                if app.is_at_rest:
                    break
        svg = app.export_screenshot(title="upm tui")
    await asyncio.get_running_loop().shutdown_default_executor()
    store.close()
    return lean(svg)


def lean(svg: str) -> str:
    """Return a picture that asks nobody for a font, without digits that nobody sees."""
    svg = re.sub(r"\s*@font-face \{.*?\}\n", "\n", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace")
    places = r'(?<=[" ])\d+\.\d{2,}(?=[" ])'  # of attributes: spaces in what is read are &#160;
    return re.sub(places, lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), svg)


def words(svg: str) -> str:
    """Return what can be read in a picture, line by line, but for the bytes of models: processors differ in those."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        lines.setdefault(float(text.get("y", 0)), []).append((float(text.get("x", 0)), "".join(text.itertext())))
    found = "\n".join("".join(part for _, part in sorted(line)) for _, line in sorted(lines.items()))
    return re.sub(r"(sha256\s)[0-9a-f]{8}|\b[\d,]+(\sB\b)", r"\1…\2", found)


PICTURES = {
    "dashboard": ((120, 36), (), "overview"),
    "dashboard-rollout": ((120, 36), (">", ">"), "rollout"),
    "dashboard-drift": ((120, 36), (), "drift"),
    "dashboard-rollback": ((80, 24), (">", ">", "b"), "overview"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, help="keep the project there; one that is there already is used")
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--check", action="store_true", help="compare the words in them, write nothing")
    parser.add_argument("--only-project", action="store_true", help="make no pictures")
    options = parser.parse_args()
    chance = np.random.default_rng(7)  # of ids, which draw the tenants of a canary
    with (
        tempfile.TemporaryDirectory() as temporary,
        mock.patch("upm_cli.actors.current", return_value=ACTOR),
        mock.patch.object(uuid7, "__defaults__", (chance.bytes,)),
    ):
        folder = (options.project or Path(temporary) / "shop").resolve()
        end = ManualClock(START_MS + HOURS * HOUR_MS + 31_000)
        if not (folder / ".upm").exists():
            make(folder)
        if options.only_project:
            return
        options.to.mkdir(parents=True, exist_ok=True)
        with running(folder, end):
            for name, (size, keys, screen) in PICTURES.items():
                svg, path = asyncio.run(picture(folder, end, size, keys, screen)), options.to / f"{name}.svg"
                if not options.check:
                    path.write_text(svg)
                    print(f"{path}  {len(svg.encode()):,} bytes")
                elif words(svg) != words(path.read_text()):
                    raise SystemExit(f"{path} shows other words by now: make the pictures again, and look at them")


if __name__ == "__main__":
    main()

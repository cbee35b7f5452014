"""`upm demo`: a made-up day of e-mail that goes wrong after midnight, in a project of its own."""

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit, write
from upm_cli.errors import PartialError

if TYPE_CHECKING:
    from upm_cli.ops.demo import Answer
    from upm_cli.ops.demo_facts import Fact
    from upm_cli.store.session import Store

FOLDER = "upm-demo"
BARS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


@command
def demo(
    ctx: Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help=f"Project to make. Default: {FOLDER}, here.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another number makes other mail.")] = 7,
    check: Annotated[
        bool, typer.Option("--check", help="Show how each fact is verified; without DIR, leave nothing behind.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --check: keep the project.")] = False,
) -> None:
    """Watch upm learn, publish, get into trouble and go back, on made-up e-mail; about 15 seconds.

    Every line that begins with $ is run as you would run it, with worker processes, in a project of its own.

    Example: upm demo
    """
    from upm_cli.ops import demo as ops
    from upm_cli.ops import demo_facts
    from upm_cli.store.session import Store

    with ExitStack() as cleanup:
        passing = folder is None and check and not keep
        if passing:
            folder = Path(cleanup.enter_context(TemporaryDirectory(prefix="upm-demo-"))) / FOLDER
        folder = (folder or Path(FOLDER)).absolute()
        ops.prepare(folder, seed)
        story = _Story(folder, speaks=ctx.output in ("table", "tsv"))
        store = Store(folder / ".upm", ctx.clock, command=ctx.command)
        _tell(story, ops.run, lambda: store)
        facts = demo_facts.check(store)
        store.close()
    failed = [fact.fact for fact in facts if not fact.passed]
    if story.speaks:
        write(_closing(facts, show_all=check or bool(failed)))
        write("" if passing else _next(folder))
    else:
        counts = {"passed": len(facts) - len(failed), "failed": len(failed)}
        shown = {"project": folder, "seed": seed, "acts": story.acts, "facts": [asdict(fact) for fact in facts]}
        emit(ctx, shown | counts)
    if failed:
        raise PartialError(
            f"{len(failed)} of {len(facts)} things the demo shows did not happen: {'; '.join(failed)}",
            hint="upm demo --check --keep keeps the project to look at" if passing else f"upm -C {folder} status",
            code="UPM-E081",
        )


@dataclass(slots=True)
class _Story:
    """What has been told so far; tells it as it happens when it `speaks`."""

    folder: Path
    speaks: bool
    acts: list[dict[str, Any]] = field(default_factory=list)

    def act(self, title: str) -> None:
        self.acts.append({"title": title, "commands": [], "said": []})
        self._write(f"\n{len(self.acts)}  {title}\n")

    def ran(self, answer: "Answer") -> None:
        line = shlex.join(["upm", *answer.words])
        self.acts[-1]["commands"].append({"command": line, "exit_code": answer.code})
        self._write(f"   $ {line}\n")

    def say(self, text: str) -> None:
        self.acts[-1]["said"].append(text)
        self._write(f"     {text}\n")

    def _write(self, text: str) -> None:
        if self.speaks:
            write(text)
            sys.stdout.flush()


def _tell(story: _Story, run: Callable[..., "Answer"], store: Callable[[], "Store"]) -> None:
    """Run the demo's commands, act by act."""
    from upm_cli.ops import demo_facts
    from upm_cli.ops.demo import TRAINER

    def upm(*words: str, expect: Sequence[int] = (0,)) -> dict[str, Any]:
        answer = run(story.folder, *words, expect=expect)
        story.ran(answer)
        return {**answer.data, "exit_code": answer.code, "refusal": answer.error}

    story.act("A project with one trainer, in shadow: it learns, and nobody sees it")
    upm("init")

    story.act("Monday's mail: which messages are urgent? Each is predicted first, then learned")
    done = upm("train", TRAINER, "--source", "mail/monday.jsonl", "--once")
    curve = demo_facts.learning_curve(demo_facts.read_state(store()).comparisons)
    story.say(f"{done['windows']['trained']:,} learned by worker processes; snapshots {_versions(done['snapshots'])}")
    story.say(
        f"error after 50, 100, 200 … messages  {sparkline(curve.brier)}  {curve.brier[0]:.3f} → {curve.brier[-1]:.3f}"
    )
    story.say(f"(Brier score; knowing only how often mail is urgent: {curve.base_rate:.3f})")

    story.act("A good Monday: publish it to everyone, and ask it")
    good = upm("activate", TRAINER, "--to-stage", "global", "--yes", "--reason", "a good Monday")
    story.say(f"v{good['version']} is live for {good['percent']} % of the tenants, epoch {good['epoch']}")
    asked = upm("predict", "mail/one.json", "--trainer", TRAINER)
    story.say(f"“outage production today” urgent? {asked['predictions'][0]['probability']:.0%} sure")

    story.act("Midnight: a change upstream makes the feed say yes for no. A nightly job publishes the newest model")
    done = upm("train", TRAINER, "--source", "mail/tuesday-0000.jsonl", "--once")
    fresh = upm("snapshot", "create", TRAINER)
    bad = upm("activate", TRAINER, str(fresh["version"]), "--to-stage", "global", "--yes", "--reason", "nightly job")
    story.say(f"40 minutes are too few messages for a verdict; v{bad['version']} is live")

    story.act("The hour is over, and judged")
    upm("train", TRAINER, "--source", "mail/tuesday-0040.jsonl", "--once")
    report = upm("drift-report", TRAINER, "--fail-on", "breach", expect=(6,))
    p95 = [window["p95"] or 0.0 for window in report["windows"]]
    worst = max(report["windows"], key=lambda window: window["p95"] or 0.0)
    story.say(f"drift by hour  {sparkline(p95)}  P95 {worst['p95']:.3f}, limit {report['threshold']:g}; exit code 6")
    story.say(f"quarantined: v{bad['version']} is barred. Recommended: {worst['recommendation']}")

    story.act("Undo")
    undone = upm("rollback", TRAINER, "--yes", "--reason", "the feed says yes for no")
    story.say(f"v{undone['from_version']} → v{undone['to_version']}, pinned; the trainer goes on from there")
    again = upm("activate", TRAINER, "latest", "--to-stage", "global", "--yes", "--reason", "nightly job", expect=(5,))
    story.say(f"the nightly job, again: refused, exit code 5: {again['error']['detail']}")

    story.act("Where things stand")
    (now,) = upm("status")["trainers"]
    story.say(f"v{now['active']} is live, {now['windows']['read']:,} messages read, {now['lag']} waiting")


def _versions(versions: Sequence[int]) -> str:
    return f"v{versions[0]}…v{versions[-1]}" if len(versions) > 1 else "".join(f"v{v}" for v in versions) or "none"


def sparkline(values: Sequence[float]) -> str:
    """Return one bar for each value, from zero to the greatest."""
    top = max([*values, 1e-12])
    return "".join(BARS[round(max(0.0, value) / top * (len(BARS) - 1))] for value in values)


def _closing(facts: Sequence["Fact"], *, show_all: bool) -> str:
    passed = sum(fact.passed for fact in facts)
    lines = [f"\nLooked up in the state afterwards: {passed} of {len(facts)} things happened as told."]
    if show_all:
        lines += [f"   {'✓' if fact.passed else '✗'} {fact.fact}: {fact.detail}" for fact in facts]
    return "\n".join(lines) + "\n"


def _next(folder: Path) -> str:
    here = folder.name if folder.parent == Path.cwd() else str(folder)
    return f"""
Try next:
   cd {shlex.quote(here)}
   upm status
   upm drift-report --plot
   upm tui
"""

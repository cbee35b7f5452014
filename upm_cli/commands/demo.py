"""`upm demo`: a made-up day of e-mail that goes wrong after midnight, in a project of its own."""

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit, write
from upm_cli.errors import PartialError

if TYPE_CHECKING:
    from upm_cli.ops.demo_facts import Fact

FOLDER = "upm-demo"


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
    """Watch upm learn, be asked to publish, get into trouble and go back, on made-up e-mail; about 20 seconds.

    Every line that begins with $ is run as you would run it, with worker processes, in a project of its own.

    Example: upm demo
    """
    from upm_cli.commands._demo_acts import Story, tell
    from upm_cli.ops import demo as ops
    from upm_cli.ops import demo_facts
    from upm_cli.ops.demo_agents import DemoAgents
    from upm_cli.store.session import Store

    with ExitStack() as cleanup:
        passing = folder is None and check and not keep
        if passing:
            folder = Path(cleanup.enter_context(TemporaryDirectory(prefix="upm-demo-"))) / FOLDER
        folder = (folder or Path(FOLDER)).absolute()
        ops.prepare(folder, seed)
        story = Story(speaks=ctx.output in ("table", "tsv"))
        store = Store(folder / ".upm", ctx.clock, command=ctx.command)
        with DemoAgents(folder) as agents:
            tell(story, partial(ops.run, folder), store, agents)
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
   upm rollout status
   upm tenant route team-01
   upm drift-report --plot
   upm audit list
   upm tui
"""

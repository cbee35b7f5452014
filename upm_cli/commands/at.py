"""`upm at`: what was live at some time, and by whose decision."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit
from upm_cli.commands._text import visible
from upm_cli.commands._times import moment_ms
from upm_cli.ids import iso


def register(app: typer.Typer) -> None:
    app.command("at")(at)


@command
def at(
    ctx: Context,
    time: Annotated[
        str, typer.Argument(metavar="TIME", help="2h (ago), yesterday, 'yesterday 14:00', 2026-11-23T12:00Z.")
    ],
    trainer: Annotated[
        str | None, typer.Argument(metavar="[TRAINER]", help="Default: all of them.", show_default=False)
    ] = None,
) -> None:
    """Show what was live at a time, and by whose decision; the rollout, pins and quarantines there were then.

    Example: upm at 2h

    Example: upm at 2026-11-23T12:00Z main --json
    """
    from upm_cli.ops import at as ops
    from upm_cli.store import trainers

    at_ms = moment_ms(time, ctx.clock.now_ms(), "TIME")
    if trainer is not None:
        names = [ctx.trainer_name(trainer)]
    else:
        with ctx.store.read() as reader:
            names = [each.name for each in trainers.list_all(reader)]
    found = ops.at(ctx.store, names, at_ms)
    lines = [f"at {iso(at_ms)}"]
    for each in found:
        lines += ["", *map(visible, _lines(each))]
    emit(ctx, {"at": iso(at_ms), "trainers": found}, text="\n".join(lines))


def _lines(seen: Mapping[str, Any]) -> Iterator[str]:
    name, first = seen["trainer"], seen["first_activation_at"]
    if not seen["rings"]:
        later = f"the first activation was at {first}" if first else "nothing was ever activated"
        yield f"{name}: nothing was live{'' if seen['existed'] else ', the trainer did not exist yet'}; {later}"
    for ring in seen["rings"]:
        share = "" if ring["ring"] == "shadow" else f" for {ring['percent']} % of tenants"
        rest = f", the rest on v{ring['rest_version']}" if ring["rest_version"] is not None else ""
        yield f"{name}: v{ring['version']} in {ring['ring']}{share}{rest}, epoch {ring['epoch']}, since {ring['since']}"
        entry = f"   upm explain {ring['ledger']}" if ring["ledger"] else ""
        verb = "a rollback by" if ring["by"] == "rollback" else "by"
        yield f"  {verb} {ring['actor']}: {ring['reason'] or 'no reason given'}{entry}"
    if (rollout := seen["rollout"]) is not None:
        stage = f"stage {rollout['stage']}" + (f": {rollout['name']}" if rollout["name"] else "")
        candidate = f" of v{rollout['version']}" if rollout["version"] is not None else ""
        yield f"  rollout{candidate} {rollout['phase']}, {stage}   upm explain {rollout['number']}"
    for ring, version in seen["ring_pins"].items():
        yield f"  {ring} pinned to v{version}"
    if seen["anchor"] is not None:
        yield f"  hold-out anchored at v{seen['anchor']}"
    for key, words in (("quarantined", "quarantined"), ("pinned", "kept from deletion")):
        if seen[key]:
            yield f"  {words}: {', '.join(f'v{version}' for version in seen[key])}"
    if seen["paused"]:
        yield "  paused"

"""`upm predict`: ask a snapshot what it thinks of a window."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit
from upm_cli.errors import NotFoundError, StorageError
from upm_cli.exit_codes import ExitCode

_TOLD = 5  # lines without a prediction that are told one by one


def register(app: typer.Typer) -> None:
    app.command("predict")(predict)


@command
def predict(
    ctx: Context,
    windows: Annotated[
        str, typer.Argument(metavar="WINDOWS", help="A JSON object, a file of JSON lines, or - for standard input.")
    ],
    trainer: Annotated[
        str | None, typer.Option("--trainer", "-t", metavar="TRAINER", help="Default: the only one.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="A version. Default: the active one, else the latest.")
    ] = None,
) -> int:
    """Predict windows with any snapshot; its bytes are checked first. Nothing is learned or recorded.

    Lines that are neither a window nor features are left out and told; then the exit code is 8.

    Example: upm predict '{"hour": 9, "sender": "bank.example"}'
    """
    from upm_cli.ops import predict as ops

    done = ops.predict(ctx.store, ctx.trainer_name(trainer), version, _lines(windows))
    payload = {
        "trainer": done.snapshot.trainer,
        "version": done.snapshot.version,
        "digest": done.snapshot.digest,
        "predictions": done.predictions,
        "refused": [{"line": one.line, "reason": one.reason} for one in done.refused],
    }
    keys = list(dict.fromkeys(key for row in done.predictions for key in row)) or ["window_id"]
    emit(ctx, payload, Table(key="predictions", columns=[Column(key) for key in keys], empty="no windows given"))
    for one in done.refused[:_TOLD]:
        ctx.say.warn(f"line {one.line} has no prediction: {one.reason}")
    if len(done.refused) > _TOLD:
        ctx.say.warn(f"and {len(done.refused) - _TOLD:,} more lines have none")
    return ExitCode.PARTIAL if done.refused else ExitCode.DONE


def _lines(windows: str) -> list[bytes]:
    if windows == "-":
        return sys.stdin.buffer.read().splitlines()
    if windows.lstrip().startswith("{"):
        return [windows.replace("\n", " ").encode("utf-8", "surrogateescape")]
    try:
        return Path(windows).read_bytes().splitlines()
    except FileNotFoundError as exc:
        raise NotFoundError(
            f"there is no file {windows}",
            hint="WINDOWS is a JSON object, a file of JSON lines, or -",
            code="UPM-E046",
        ) from exc
    except OSError as exc:
        raise StorageError(
            f"can't read {windows}: {exc.strerror}", hint="check its permissions", code="UPM-E015"
        ) from exc

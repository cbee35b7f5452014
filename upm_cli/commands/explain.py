"""`upm explain`: what a code in a message means, and what to do."""

import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


@command
def explain(
    ctx: Context,
    code: Annotated[str, typer.Argument(metavar="[CODE]", help="As in UPM-E040; without it, all codes.")] = "",
) -> None:
    """Explain a code from an error message: what happened, why, and what to do.

    Example: upm explain UPM-E070
    """
    from upm_cli.ops import explain as ops

    if not code:
        rows = [{"code": page.code, "title": page.title, "exit_code": page.exit_code} for page in ops.pages().values()]
        emit(
            ctx,
            {"codes": rows},
            Table(key="codes", columns=[Column("code"), Column("title"), Column("exit_code", "EXIT")]),
        )
        return
    page = ops.explain(code)
    parts = [f"{page.code}  {page.title}   (exit code {page.exit_code})"]
    parts += [_paragraph(word, text) for word, text in (("What", page.what), ("Why", page.why), ("Do", page.do))]
    emit(ctx, {**asdict(page), "exit_code": page.exit_code}, text="\n\n".join(parts))


def _paragraph(word: str, text: str) -> str:
    return textwrap.fill(text, 96, initial_indent=f"{word:<6}", subsequent_indent=" " * 6, break_on_hyphens=False)

"""Tables for people, drawn with rich."""

import io
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upm_cli.commands._output import Column


def render(columns: "Sequence[Column]", rows: Sequence[Sequence[str]], title: str, color: bool) -> str:
    """Return a table as text; cells are never read as markup. Cut to the terminal's width, never in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=Text(title) if title else None)
    for column in columns:
        heading = Text(column.title or column.key.replace("_", " "), style="bold")
        table.add_column(heading, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(table)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())

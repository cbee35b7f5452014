"""Tables for people, drawn with rich."""

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from upm_cli.commands._narrow import GAP, Layout, Need, arrange

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from upm_cli.commands._output import Column

_INDENT = "    "  # of what goes under its row


def render(columns: "Sequence[Column]", rows: Sequence[Sequence[str]], title: str, color: bool) -> str:
    """Return a table as text; cells are never read as markup. Fitted to the terminal's width, never in a pipe."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    needs = _needs(columns, rows)
    if sum(need.longest for need in needs) + GAP * (len(needs) - 1) <= width:
        _draw(console, columns, rows, title)
    else:
        for line in _narrow(console, columns, rows, title, arrange(needs, width)):
            console.print(line, soft_wrap=True)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def _heading(column: "Column") -> str:
    return column.title or column.key.replace("_", " ")


def _draw(console: "Console", columns: "Sequence[Column]", rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=Text(title) if title else None)
    for column in columns:
        heading = Text(_heading(column), style="bold")
        table.add_column(heading, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _needs(columns: "Sequence[Column]", rows: Sequence[Sequence[str]]) -> list[Need]:
    from rich.cells import cell_len

    needs = []
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows]
        texts = [_heading(column), *cells]
        lengths = sorted(map(cell_len, cells)) or [0]
        needs.append(
            Need(
                longest=max(map(cell_len, texts)),
                usual=lengths[len(lengths) * 3 // 4],
                word=max((cell_len(word) for text in texts for word in text.split()), default=0),
                empty=not any(cells),
                spare=column.spare,
            )
        )
    return needs


def _narrow(
    console: "Console", columns: "Sequence[Column]", rows: Sequence[Sequence[str]], title: str, layout: Layout
) -> "Iterator[Text]":
    from rich.text import Text

    if title:
        yield Text(title)
    for line in _beside(console, columns, [_heading(column) for column in columns], layout):
        yield Text(line, style="bold")
    yield Text("─" * (sum(layout.widths.values()) + GAP * (len(layout.widths) - 1)))
    for row in rows:
        yield from map(Text, _beside(console, columns, row, layout))
        for index in layout.below:
            if row[index]:
                yield from map(Text, _under(console, f"{_heading(columns[index]).lower()}: {row[index]}"))


def _beside(console: "Console", columns: "Sequence[Column]", cells: Sequence[str], layout: Layout) -> Iterator[str]:
    from rich.cells import cell_len

    wrapped = [_wrapped(console, cells[index], width) for index, width in layout.widths.items()]
    for parts in zip_longest(*wrapped, fillvalue=""):
        line = []
        for part, (index, width) in zip(parts, layout.widths.items(), strict=True):
            padding = " " * (width - cell_len(part))
            line.append(padding + part if columns[index].right else part + padding)
        yield (" " * GAP).join(line).rstrip()


def _under(console: "Console", text: str) -> Iterator[str]:
    for line in _wrapped(console, text, max(console.width - len(_INDENT), 1)):
        yield _INDENT + line


def _wrapped(console: "Console", text: str, width: int) -> list[str]:
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(console, width, overflow="fold")]

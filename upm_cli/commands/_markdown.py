"""Markdown for people at a terminal: the little that our help texts use, wrapped, with or without colour.

Headings, paragraphs, lists, tables, blocks of code, bold, code and links. No library for it is loaded: the texts are
our own, and `upm help` is to be there at once.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

Link = Callable[[str, str], str]  # label, target → what is told instead
_BOLD, _CODE, _DIM, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
_STYLE: Final = re.compile(r"\x1b\[\d+m")
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_INLINE: Final = re.compile(r"(`+)(.+?)\1|\*\*(.+?)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?!\w)")
_ITEM: Final = re.compile(r"(\s*)([-*]|\d+\.) +")
_FENCE: Final = re.compile(r"(\s*)```")
_COMMENT: Final = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_CELL: Final = re.compile(r"(?<!\\)\|")
_KEPT: Final = 48  # code up to this long stays on one line, so that it can be copied
_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Page:
    """How a text is to look."""

    width: int
    color: bool
    link: Link

    def inline(self, text: str) -> str:
        """Return one stretch of text with its bold, code and links; spaces that stay become no-break spaces."""
        text = _LINK.sub(lambda found: self.link(found[1], found[2]), text)
        return _INLINE.sub(self._styled, text)

    def _styled(self, found: re.Match[str]) -> str:
        tick, code, bold, leaning = found.groups()
        if code is None:
            inner = _INLINE.sub(self._styled, bold or leaning)
            return self.style(_BOLD, inner) if bold else inner
        kept = code.replace(" ", "\xa0") if len(code) <= _KEPT else code
        return self.style(_CODE, kept) if self.color else f"{tick}{kept}{tick}"

    def style(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self.color and text else text


def render(text: str, page: Page) -> str:
    """Return `text`, Markdown, as it is shown; without a newline at its end."""
    shown: list[str] = []
    for block in _blocks(_COMMENT.sub("", text).splitlines()):
        shown += _render(block, page)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(shown)).strip("\n")


@dataclass(slots=True)
class _Block:
    kind: str  # text | code | table | heading | blank
    lines: list[str]
    indent: int = 0
    mark: str = ""


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    """Yield the blocks of a text. Lines of one paragraph, table or fence are one block."""
    open_one: _Block | None = None
    fence: _Block | None = None
    for line in lines:
        if fence is not None:
            if _FENCE.match(line):
                yield fence
                fence = None
            else:
                fence.lines.append(line[fence.indent :])
            continue
        block = _begin(line)
        if open_one is not None and block.kind == open_one.kind == "table":
            open_one.lines += block.lines
            continue
        if open_one is not None and open_one.kind == block.kind == "text" and not block.mark:
            open_one.lines += block.lines
            continue
        if open_one is not None:
            yield open_one
        open_one = None
        if block.kind == "code":
            fence = block
        elif block.kind in ("text", "table"):
            open_one = block
        else:
            yield block
    if open_one is not None:
        yield open_one


def _begin(line: str) -> _Block:
    """Return the block that a line begins, or goes on with."""
    indent = len(line) - len(line.lstrip())
    bare = line.strip()
    if not bare:
        return _Block("blank", [""])
    if _FENCE.match(line):
        return _Block("code", [], indent)
    if bare.startswith("|"):
        return _Block("table", [bare], indent)
    if bare.startswith("#") and bare.lstrip("#").startswith(" "):
        return _Block("heading", [bare.lstrip("# ")], 0, "#" * (len(bare) - len(bare.lstrip("#"))))
    item = _ITEM.match(line)
    if item is not None:
        return _Block("text", [line[item.end() :]], indent, f"{'•' if item[2] in '-*' else item[2]} ")
    return _Block("text", [bare], indent)


def _render(block: _Block, page: Page) -> list[str]:
    if block.kind == "blank":
        return [""]
    if block.kind == "heading":
        return _heading(block, page)
    pad = " " * block.indent
    if block.kind == "code":
        return ["", *(f"{pad}  {_code_line(line, page)}".rstrip() for line in block.lines), ""]
    if block.kind == "table":
        return ["", *(pad + line for line in _table(block.lines, page, page.width - block.indent)), ""]
    first = pad + block.mark
    return wrap(page.inline(" ".join(block.lines)), page.width, first, " " * len(first))


def _heading(block: _Block, page: Page) -> list[str]:
    text = page.inline(block.lines[0])
    if page.color:
        return ["", page.style(_BOLD, _STYLE.sub("", text).replace("\xa0", " ")), ""]
    under = {"#": "=", "##": "-"}.get(block.mark, "")
    return ["", text.replace("\xa0", " "), *([under * len(text)] if under else []), ""]


def _code_line(line: str, page: Page) -> str:
    command, mark, comment = line.partition("# ")
    return command + page.style(_DIM, f"{mark}{comment}") if mark else line


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Return `text` in lines of at most `width`, a longer word on a line of its own; styles have no width."""
    lines: list[str] = []
    line, used, is_bare = first, len(first), True
    for word in _words(text, width - len(rest)):
        long = _width(word)
        if not long:
            continue
        if not is_bare and used + 1 + long > width:
            lines.append(line)
            line, used, is_bare = rest, len(rest), True
        line += word if is_bare else f" {word}"
        used += long if is_bare else 1 + long
        is_bare = False
    return [one.replace("\xa0", " ") for one in [*lines, line]]


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words of `text`. What was to stay together comes apart where there is no room for it."""
    for word in text.split(" "):
        yield from word.split("\xa0") if _width(word) > room else [word]


def _table(lines: Sequence[str], page: Page, width: int) -> list[str]:
    rows = [[page.inline(cell.strip().replace("\\|", "|")) for cell in _CELL.split(line)[1:-1]] for line in lines]
    head, body = rows[0], rows[2:]  # the second line says only how columns are set
    columns = [*zip(head, *body, strict=True)]
    least = [_least(column) for column in columns]
    if _total(least) > width:
        return _stacked(body, width)
    room = _share([max(map(_width, column)) for column in columns], least, width)
    shown = [_row(row, room) for row in body]
    heading = [page.style(_BOLD, "  ".join(_fill(cell, size) for cell, size in zip(head, room, strict=True)).rstrip())]
    titled = heading + ([] if page.color else ["  ".join("-" * size for size in room)]) if any(head) else []
    return [*titled, *(line for row in shown for line in row)]


def _row(row: Sequence[str], room: Sequence[int]) -> list[str]:
    columns = [wrap(cell, size) for cell, size in zip(row, room, strict=True)]
    high = max(map(len, columns))
    filled = [[*column, *[""] * (high - len(column))] for column in columns]
    return [
        "  ".join(_fill(cell, size) for cell, size in zip(line, room, strict=True)).rstrip()
        for line in zip(*filled, strict=True)
    ]


def _stacked(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the rows of a table that is too wide: what stands in the first column, the rest indented below it."""
    lines: list[str] = []
    for first, *others in rows:
        lines += wrap(first, width)
        for cell in others:
            lines += wrap(cell, width, "    ", "    ")
    return lines


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + _GAP * (len(sizes) - 1)


def _least(column: Sequence[str]) -> int:
    """Return how narrow a column can be: as wide as its longest word."""
    return max(_width(word) for cell in column for word in re.split("[ \xa0]", cell))


def _share(wanted: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Return how wide columns are: as wide as they want, the widest that can be narrowed until all fit.

    They fit: `least` does.
    """
    room = list(wanted)
    while _total(room) > width:
        could = [i for i, size in enumerate(room) if size > least[i]]
        room[max(could, key=room.__getitem__)] -= 1
    return room


def _width(text: str) -> int:
    return len(_STYLE.sub("", text))


def _fill(text: str, size: int) -> str:
    return text + " " * (size - _width(text))

"""What is watched on a terminal: drawn anew in place, as often as somebody looks."""

import math
import re
import shutil
import sys
from typing import Final

from upm_cli.commands._context import Context
from upm_cli.commands._output import flush, write

_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """The lines that were drawn last. Only a terminal `redraws`; anything else wants a line for each change."""

    def __init__(self, ctx: Context) -> None:
        self.redraws = ctx.output == "table" and sys.stdout.isatty()
        self._drawn = 0

    def draw(self, text: str) -> None:
        """Put `text` in the place of what was drawn before."""
        from rich.cells import cell_len

        columns = shutil.get_terminal_size().columns
        write(f"\x1b[{self._drawn}F\x1b[J" if self._drawn else "")
        write(text + "\n")
        widths = [cell_len(_STYLE.sub("", line)) for line in text.split("\n")]
        self._drawn = sum(max(1, math.ceil(width / columns)) for width in widths)
        flush()

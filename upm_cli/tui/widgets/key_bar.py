"""The line at the bottom: where one can go and what one can do here, as much of it as fits. A click is a key."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from upm_cli.tui.keys import EVERY, SCREENS, Key
from upm_cli.tui.text import QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the line shows. `here` are keys of `screen`, most useful first; those that `change` may be greyed."""

    screen: str
    here: tuple[str, ...]
    may_change: bool
    is_past: bool


class KeyBar(Widget):
    """Draws `Keys`: the screens, the keys of this one, and how to get help, dropped from the right if need be."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._keys: Keys | None = None

    def show(self, keys: Keys) -> None:
        """Draw `keys` from now on."""
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def render(self) -> Text:
        if self._keys is None:
            return Text("")
        end, here, text = _end(self._keys), _here(self._keys), Text("")
        room = self.size.width - end.cell_len - 1
        for is_short in (False, True):
            text = _screens(self._keys.screen, is_short=is_short)
            if text.cell_len + sum(each.cell_len + 1 for each in here) <= room:
                break
        for each in here:
            if text.cell_len + each.cell_len + 1 <= room:
                text = Text.assemble(text, " ", each)
        return Text.assemble(text, " " * max(1, self.size.width - text.cell_len - end.cell_len), end)


def _screens(screen: str, *, is_short: bool) -> Text:
    """Return the numbers of the screens with their names; `is_short`: only that of the one we are on."""
    text = Text(" ")
    for key in SCREENS:
        is_here = key.action == f"go('{screen}')"
        name = key.label if is_here or not is_short else ""
        part = Text.assemble((key.key, "bold" if is_here else "blue"), f" {name}" if name else "")
        if is_here:
            part.stylize("reverse")
        part.stylize(_click(key))
        text = Text.assemble(text, part, " ")
    return text


def _here(keys: Keys) -> Sequence[Text]:
    names = (*keys.here, "slash", "colon")
    return [_key(EVERY[name], is_off=EVERY[name].changes and not keys.may_change) for name in names]


def _end(keys: Keys) -> Text:
    names = ("backslash", "question_mark") if keys.is_past else ("question_mark",)
    text = Text(" ").join(_key(EVERY[name], is_off=False) for name in names)
    if not keys.is_past:
        palette = Text(EVERY["ctrl+p"].name, style="bold blue")
        palette.stylize(_click(EVERY["ctrl+p"]))
        text = Text.assemble(text, " ", palette)
    return Text.assemble(text, " ")


def _key(key: Key, *, is_off: bool) -> Text:
    text = Text.assemble((key.name, QUIET if is_off else "bold blue"), (f" {key.label}", QUIET if is_off else ""))
    text.stylize(_click(key))
    return text


def _click(key: Key) -> Style:
    return Style(meta={"@click": f"app.{key.action}"})

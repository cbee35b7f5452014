"""ctrl+p: everything the dashboard can do and every command of upm, each with its key if it has one."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from upm_cli.tui.keys import ACTIONS, EVERY, FLEET, LOOKING, SCREENS, SHOTS, Key
from upm_cli.tui.project import CliCommand

if TYPE_CHECKING:
    from upm_cli.tui.app import Dashboard

#: Commands of upm that a key does, or shows.
KEY_OF: Final = {
    "status": "1",
    "top": "1",
    "snapshot list": "2",
    "snapshot show": "2",
    "drift-report": "3",
    "quarantine list": "3",
    "rollout status": "4",
    "rollout history": "4",
    "gate check": "4",
    "tenant list": "4",
    "adapter list": "5",
    "sync": "5",
    "events": "6",
    "audit list": "6",
    "audit show": "6",
    "explain": "6",
    "ps": "7",
    "snapshot create": "s",
    "snapshot": "s",
    "activate": "a",
    "rollback": "b",
    "pause": "p",
    "resume": "p",
    "rollout promote": "P",
    "rollout pause": "h",
    "rollout resume": "h",
    "rollout abort": "x",
    "rollout start": "n",
    "rollout retry": "n",
    "quarantine release": "u",
    "snapshot release": "u",
    "snapshot pin": "i",
    "snapshot unpin": "i",
    "snapshot diff": "d",
    "snapshot verify": "v",
    "at": "left_square_bracket",
}


class Commands(Provider):
    """The keys of the dashboard, then the commands of upm."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._commands: Sequence[CliCommand] = ()

    @property
    def _dashboard(self) -> "Dashboard":
        return self.app  # type: ignore[return-value]

    async def startup(self) -> None:
        self._commands = await asyncio.to_thread(self._dashboard.project.commands)

    def _entries(self) -> list[tuple[str, str, str, Callable[[], Any]]]:
        """Return name, what it is found by, help and what to do."""
        found: list[tuple[str, str, str, Callable[[], Any]]] = []
        for key in (*SCREENS, *ACTIONS, *SHOTS, *FLEET, *LOOKING):
            if key.action != "command_palette":
                name = f"{key.label}: {key.does}"
                found.append((name, key.name, "", partial(self._press, key)))
        for command in self._commands:
            key_name = KEY_OF.get(command.name)
            shown = EVERY[key_name].name if key_name is not None else ""
            found.append((f"upm {command.name}", shown, command.short, partial(self._run, command)))
        return found

    async def discover(self) -> Hits:
        for name, key, about, act in self._entries():
            yield DiscoveryHit(_label(Content(name), key), act, text=name, help=about or None)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, key, about, act in self._entries():
            score = matcher.match(f"{name} {about}")
            if score > 0:
                named = matcher.match(name)
                shown = matcher.highlight(name) if named else Content(name)
                yield Hit(max(score, named), _label(shown, key), act, text=name, help=about or None)

    async def _press(self, key: Key) -> None:
        await self._dashboard.run_action(key.action)

    async def _run(self, command: CliCommand) -> None:
        """Do what the key of a command does; show the help of one that has none."""
        key = KEY_OF.get(command.name)
        if key is not None:
            await self._press(EVERY[key])
        else:
            self._dashboard.show_command(command)


def _label(name: Content, key: str) -> Content:
    return Content.assemble(name, (f"   {key}", "bold $accent")) if key else name

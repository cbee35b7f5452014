"""Every dialog is whole at 80x24, however long the names and reasons in it are; a new one without a case fails."""

import ast
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from boards import board
from textual.command import CommandPalette
from textual.containers import ScrollableContainer
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.widgets import Button, Input

import upm_cli.tui
from tests.tui.conftest import Bench, Hand, copied, train
from upm_cli.core.records import AdapterStatus
from upm_cli.errors import StorageError
from upm_cli.ops import rollout
from upm_cli.store import adapters
from upm_cli.testing import prove
from upm_cli.tui import messages
from upm_cli.tui.app import SCREENS
from upm_cli.tui.planners import PLANNERS
from upm_cli.tui.project import CliCommand
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.detail import Detail
from upm_cli.tui.screens.help import Help
from upm_cli.tui.screens.prompt import Prompt
from upm_cli.tui.screens.refused import Refused

NAME = "search-ranking-for-the-european-market-1"
LONG = "every word of a long reason that somebody gave who had the time to write all of it down at night " * 3
WIDTH, HEIGHT = 80, 24


@dataclass(frozen=True)
class Dialog:
    """One dialog: what it is a case of, the keys that open it, and words that must be read in it."""

    of: str  # plan VERB, help SCREEN, detail SCREEN, or the function that opens it
    kind: type[ModalScreen[Any]]
    keys: tuple[str, ...]
    sees: tuple[str, ...] = ()
    command: str = ""  # the whole of the equivalent command
    before: Callable[[Bench], object] | None = None
    fills: bool = False  # whether to write the longest reason and the name into it


# What is looked at


def crop(lines: list[str], region: Region) -> str:
    """Return what can be read in a part of the screen, without spaces and ends of lines."""
    rows = (line.ljust(WIDTH)[region.x : region.right] for line in lines[region.y : region.bottom])
    return "".join("".join(rows).split())


def assert_whole(hand: Hand, dialog: Dialog) -> None:
    """Check that borders, buttons, fields and the command of the dialog on top are on the screen and can be read."""
    screen, text = hand.app.screen, hand.text
    lines, frame = text.splitlines(), Region(0, 0, WIDTH, HEIGHT)
    assert isinstance(screen, dialog.kind), f"{dialog.of}: {type(screen).__name__}\n{text}\n{hand.said}"
    for widget in screen.walk_children():
        if not widget.region or any(isinstance(each, ScrollableContainer) for each in list(widget.ancestors)[:-1]):
            continue
        assert frame.contains_region(widget.region), f"{dialog.of}: {widget} is outside\n{text}"
        around = getattr(widget.parent, "region", None)
        assert not around or around.contains_region(widget.region), f"{widget} is cut\n{text}"
        if isinstance(widget, Button):
            assert "".join(str(widget.label).split()) in crop(lines, widget.region), f"{widget} can't be read\n{text}"
        if isinstance(widget, Input):
            assert widget.size.width >= 20, f"{widget} has no room\n{text}"
    if not isinstance(screen, CommandPalette | Prompt):
        assert_framed(screen.query_one("#dialog, #page, #help"), lines, text)
    inside = crop(lines, frame)
    for word in dialog.sees:
        assert "".join(word.split()) in inside, f"{dialog.of}: {word!r} is not to be read\n{text}"
    if dialog.command:
        place = screen.query_one("#same, #page-command").region
        assert crop(lines, place) == "".join(f"The same as: {dialog.command}".split()), f"{dialog.of}\n{text}"


def assert_framed(box: Any, lines: list[str], text: str) -> None:
    """Check that a box has four corners, all of its title and of its subtitle, and needs no room it has not got."""
    at = box.region
    corners = [lines[y].ljust(WIDTH)[x] for y in (at.y, at.bottom - 1) for x in (at.x, at.right - 1)]
    assert corners == ["╭", "╮", "╰", "╯"], text
    for side, y in (("border_title", at.y), ("border_subtitle", at.bottom - 1)):
        said = "".join(getattr(box, f"_{side}").plain.split()) if getattr(box, side) else ""
        assert said in "".join(lines[y].split()), f"{said} is cut\n{text}"
    assert box.virtual_size.height <= box.size.height, f"what is in {box} does not fit\n{text}"


# The project, and what happens to it between two dialogs


@pytest.fixture(scope="session")
def longest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("longest"), NAME)


@pytest.fixture
def shop(longest: Path, tmp_path: Path) -> Iterator[Bench]:
    with copied(longest, tmp_path / "shop", NAME) as bench:
        words = [word for n in range(17) for word in ("--tenant", f"tenant-number-{n}-of-seventeen")]
        bench.cli("adapter", "add", "edge", "--path", str(tmp_path / "models"), *words)
        yield bench


def serve(bench: Bench) -> None:
    for version in ("2", "4"):
        bench.cli("activate", NAME, version, "--no-sync")


def roll_back(bench: Bench) -> None:
    serve(bench)
    bench.cli("rollback", NAME, "--yes", "--reason", LONG, "--no-sync")


def let_it_be_young(bench: Bench) -> None:
    settings = bench.folder / "upm.yaml"
    settings.write_text(settings.read_text().replace("min_shadow_hours: 0", "min_shadow_hours: 336"))


def under_way(bench: Bench) -> None:
    rollout.start(bench.store, bench.clock, bench.project().settings, NAME, actor="ada")


def proven(bench: Bench) -> None:
    prove(bench.store, bench.clock, NAME, tenants=("acme", "globex"))


def given_up(bench: Bench) -> None:
    with bench.store.write() as tx:
        rows = adapters.list_all(tx)
        more = {"status": AdapterStatus.ERRORED, "attempts": 8, "failures": 8, "last_error": LONG, "version": 4}
        adapters.put_many(tx, [replace(row, **more) for row in rows])


def cli(*words: str) -> Callable[[Bench], object]:
    return lambda bench: bench.cli(*words)


UPM = f"upm {{}} {NAME}"
GROUPS: dict[str, tuple[Callable[[Bench], object] | None, tuple[Dialog, ...]]] = {
    "learned": (
        None,
        (
            Dialog("plan snapshot", Confirm, ("s",), ("makes v5",), f"upm snapshot create {NAME} --yes"),
            Dialog(
                "plan activate", Confirm, ("a",), ("17 agents", "✓ quarantine", "y Activate", "Cancel"),
                f"upm activate {NAME} 4 --to-stage global --yes",
            ),
            Dialog("plan pause", Confirm, ("p",), ("y Pause",), f"upm pause {NAME} --yes"),
            Dialog("plan pause", Confirm, ("p",), ("y Resume",), f"upm resume {NAME} --yes",
                   before=cli("pause", NAME, "--reason", LONG)),
            Dialog("plan pin", Confirm, ("2", "i"), ("y Pin",), f"upm snapshot pin {NAME} 4 --yes"),
            Dialog("plan pin", Confirm, ("2", "i"), ("y Unpin",), f"upm snapshot unpin {NAME} 4 --yes",
                   before=cli("snapshot", "pin", NAME, "4", "--reason", LONG)),
            Dialog("show_detail", Detail, ("2", "j", "m", "k", "d"), ("v3 → v4",),
                   f"upm snapshot diff {NAME} 3 4"),
        ),
    ),
    "served": (
        serve,
        (
            Dialog(
                "plan rollback", Confirm, ("b",), ("17 agents", "proven ✓", "P95"),
                f"upm rollback {NAME} --to 2 --ring global --yes",
            ),
        ),
    ),
    "rollout": (
        cli("activate", NAME, "2", "--no-sync"),
        (
            Dialog("plan begin", Confirm, ("4", "n"), ("canary 25%", "global 100%"), f"upm rollout start {NAME} --yes"),
            Dialog("plan hold", Confirm, ("4", "h"), ("y Hold",), f"upm rollout pause {NAME} --yes", before=under_way),
            Dialog("_refused", Refused, ("P",), ("✗ evidence", "Esc closes"), f"upm rollout promote {NAME}"),
            Dialog("detail rollout", Detail, ("4", "enter"), (), f"upm gate check {NAME}"),
            Dialog("plan promote", Confirm, ("P",), ("y Promote", "v4 for 1 %"), f"upm rollout promote {NAME} --yes",
                   before=proven),
            Dialog("plan hold", Confirm, ("h",), ("y Go",), f"upm rollout resume {NAME} --yes",
                   before=cli("rollout", "pause", NAME, "--reason", LONG)),
            Dialog("plan abort", Confirm, ("x",), ("y Abort",), f"upm rollout abort {NAME} --yes"),
            Dialog("plan begin", Confirm, ("n",), ("y Begin",), f"upm rollout retry {NAME} --yes",
                   before=cli("rollout", "abort", NAME, "--yes", "--reason", LONG)),
        ),
    ),
    "rolled back": (
        roll_back,
        (
            Dialog("_refused", Refused, ("2", "a"), ("✗ quarantine", "Esc closes"), f"upm activate {NAME} 4"),
            Dialog("plan release", Confirm, ("u",), ("y Release", "Cancel", "Give a reason"),
                   f"upm snapshot release {NAME} 4 --reason {'x' * 120} --yes", fills=True),
        ),
    ),
    "young": (
        let_it_be_young,
        (
            Dialog("_refused", Refused, ("a",), ("✗ policy", "e excepts them"), f"upm activate {NAME} latest"),
            Dialog("plan override", Confirm, ("a", "e"), ("y Activate", "Cancel", "Give a reason", "excepted"),
                   f"upm activate {NAME} 4 --to-stage global --override --reason {'x' * 120} --yes", fills=True),
        ),
    ),
    "undelivered": (
        given_up,
        (Dialog("plan retry", Confirm, ("5", "r"), ("and 14 more", "y Retry"), "upm sync retry edge --yes"),
         Dialog("detail agents", Detail, ("5", "enter"), ("Agent edge",), "upm adapter show edge")),
    ),
}  # fmt: skip
LOOKING = (
    *(Dialog(f"help {each.NAME}", Help, (str(n), "?"), ("Acting", "Here", "Esc closes"))
      for n, each in enumerate(SCREENS, 1)),
    Dialog("detail drift", Detail, ("3", "enter"), ("Window 2025",), "upm quarantine show search/16800"),
    Dialog("detail rollout", Detail, ("4", "enter"), ("Gate quarantine",), f"upm gate check {NAME}"),
    Dialog("detail rollout", Detail, ("4", "tab", "enter"), ("Tenant bank",), f"upm tenant route bank {NAME}"),
    Dialog("detail agents", Detail, ("5", "enter"), ("Agent edge-3",), "upm adapter show edge-3"),
    Dialog("detail events", Detail, ("6", "enter"), ("ledger #7",), "upm explain 7"),
    Dialog("detail workers", Detail, ("7", "enter"), ("UPM-E091",), "upm status --json"),
    Dialog("action_filter", Prompt, ("1", "slash", *"bad("), ("unterminated",)),
    Dialog("action_goto", Prompt, ("colon", *"nowhere", "enter"), ("nowhere", "did you mean")),
    Dialog("action_command_palette", CommandPalette, ("ctrl+p",), ("Overview: every trainer",)),
    Dialog("action_theme", CommandPalette, ("t",), ("nord",)),
)  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_every_dialog_of_a_project_is_whole_at_80x24(shop: Bench, group: str) -> None:
    prepare, dialogs = GROUPS[group]
    if prepare is not None:
        prepare(shop)

    problems: list[str] = []

    async def steps(hand: Hand) -> None:
        for dialog in dialogs:
            if dialog.before is not None:
                dialog.before(shop)
                await hand.look()
            problems.extend(await open_and_close(hand, dialog))

    shop.drive(steps)
    assert not problems, "\n".join(problems)


def test_every_dialog_that_looks_is_whole_at_80x24(show: Any) -> None:
    first = board()
    rows = [{**row, "name": NAME if row["name"] == "search" else row["name"]} for row in first.overview["trainers"]]
    details = {NAME if name == "search" else name: each for name, each in first.details.items()}
    named = replace(first, overview={**first.overview, "trainers": rows}, details=details, trainer=NAME)
    named = replace(named, strips=replace(first.strips, trainer=NAME))

    problems: list[str] = []

    async def steps(hand: Hand) -> None:
        for dialog in LOOKING:
            problems.extend(await open_and_close(hand, dialog))
        assert not problems, "\n".join(problems)
        hand.app.show_command(
            CliCommand(name="rollout start", short="", usage="upm rollout start [OPTIONS]", text=LONG)
        )
        await hand.settle()
        assert_whole(hand, Dialog("show_command", Detail, (), ("Esc closes",), "upm rollout start"))
        await hand.press("escape")
        hand.app.post_message(messages.Failed(StorageError(LONG, hint=LONG)))
        await hand.settle()
        assert "".join(LONG.split()[-4:]) in "".join(hand.text.replace("▌", "").split()), hand.text

    show(named, steps)


async def open_and_close(hand: Hand, dialog: Dialog) -> list[str]:
    """Open a dialog and close it again; return what is wrong with it."""
    await hand.press(*dialog.keys)
    try:
        if dialog.fills:
            await hand.press("enter", "enter", "y")  # says what is missing
            assert_whole(hand, replace(dialog, command=""))
            hand.app.screen.query_one("#reason", Input).value = "x" * 120
            await hand.settle()
            dialog = replace(dialog, sees=tuple(each for each in dialog.sees if each != "Give a reason"))
        assert_whole(hand, dialog)
    except AssertionError as exc:
        return [str(exc)]
    finally:
        while len(hand.app.screen_stack) > 1:
            await hand.press("escape")
    return []


# That none is forgotten


def every_module() -> list[Any]:
    found = pkgutil.walk_packages(upm_cli.tui.__path__, "upm_cli.tui.")
    return [importlib.import_module(each.name) for each in found]


def openers() -> set[str]:
    """Return the functions of the dashboard that open a dialog."""
    found = set()
    for module in every_module():
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = {each.func.attr for each in ast.walk(node)
                         if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)}  # fmt: skip
                if calls & {"push_screen", "push_screen_wait", "search_themes", "search_commands"}:
                    found.add(node.name)
    return found


def test_no_dialog_is_without_a_case() -> None:
    dialogs = [*(each for _, group in GROUPS.values() for each in group), *LOOKING]
    cases = {each.of for each in dialogs}
    assert {f"plan {verb}" for verb in PLANNERS} <= cases
    assert {f"help {each.NAME}" for each in SCREENS} <= cases
    assert {f"detail {each.NAME}" for each in SCREENS if "detail" in vars(each)} <= cases
    named = (each for module in every_module() for each in vars(module).values() if isinstance(each, type))
    kinds = {
        each
        for each in named
        if issubclass(each, ModalScreen) and not each.__subclasses__() and each.__module__.startswith("upm_cli.")
    }
    assert kinds <= {each.kind for each in dialogs}
    assert openers() - {"_planned", "action_help"} <= cases  # those two have cases for each plan, each screen

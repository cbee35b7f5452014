"""Where `:` goes: `:drift search`, `:agents tenant=eu`, `:snap main v42`, `:at 2h`, `:now`, `:theme nord`, `:quit`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from upm_cli.errors import UsageError
from upm_cli.nearest import nearest

#: Words for each screen, its name first; any beginning of one that is clear is enough.
SCREENS: Final = {
    "overview": ("overview", "status", "home", "top"),
    "snapshots": ("snapshots", "snaps", "versions"),
    "drift": ("drift", "breaches"),
    "rollout": ("rollout", "gates", "tenants"),
    "agents": ("agents", "adapters", "sync"),
    "events": ("events", "ledger", "audit", "log"),
    "workers": ("workers", "ps", "processes"),
}
VERBS: Final = ("at", "now", "theme", "help", "quit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goto:
    """What was asked for. `verb`: go | at | now | theme | help | quit; `filter` is for the list there."""

    verb: str
    screen: str = ""
    trainer: str | None = None
    row: str | None = None  # name of a row: a version
    filter: str = ""
    argument: str = ""


def parse(text: str, trainers: Sequence[str]) -> Goto:
    """Return where `text` (without the colon) leads. `trainers` are the names there are. Raises UsageError."""
    head, _, rest = text.strip().partition(" ")
    words = rest.split()
    if not head:
        raise UsageError("where to?", hint=f"one of {', '.join([*SCREENS, *VERBS])}")
    if head in trainers:
        return _go("overview", [head, *words], trainers)
    name = _meant(head.lower())
    if name in SCREENS:
        return _go(name, words, trainers)
    if name in ("at", "theme") and not rest.strip():
        raise UsageError(f":{name} needs a {'time' if name == 'at' else 'name'}", hint=f":{name} {_EXAMPLES[name]}")
    return Goto(verb=name, argument=rest.strip())


_EXAMPLES: Final = {"at": "2h", "theme": "upm"}


def _go(screen: str, words: Sequence[str], trainers: Sequence[str]) -> Goto:
    trainer, row, rest = None, None, []
    for word in words:
        if trainer is None and word in trainers:
            trainer = word
        elif row is None and word.lower().removeprefix("v").isdecimal():
            row = str(int(word.lower().removeprefix("v")))
        else:
            rest.append(word)
    return Goto(verb="go", screen=screen, trainer=trainer, row=row, filter=" ".join(rest))


def _meant(word: str) -> str:
    """Return the screen or verb that `word` names or begins. Raises UsageError with the nearest one."""
    names = {each: name for name, several in SCREENS.items() for each in several} | {verb: verb for verb in VERBS}
    if word in names:
        return names[word]
    if word == "q":
        return "quit"
    meant = dict.fromkeys(names[each] for each in names if each.startswith(word))
    if len(meant) == 1:
        return next(iter(meant))
    if meant:
        raise UsageError(f":{word} could be {' or '.join(meant)}", hint="type one letter more")
    near = nearest(word, names)
    hint = f"did you mean :{near}?" if near else f"one of {', '.join([*SCREENS, *VERBS])}"
    raise UsageError(f"there is no {word!r} to go to", hint=hint)


def complete(text: str, trainers: Sequence[str], themes: Sequence[str] = ()) -> str | None:
    """Return `text` with its last word finished, if something begins like it."""
    head, space, rest = text.partition(" ")
    if not space:
        words = [*SCREENS, *VERBS, *trainers]
        return next((word for word in words if word.startswith(text.lower()) and word != text), None) if text else None
    last = rest.rpartition(" ")[2]
    found = next((name for name in (themes if head == "theme" else trainers) if name.startswith(last)), None)
    return None if not last or found is None or found == last else f"{text[: len(text) - len(last)]}{found}"

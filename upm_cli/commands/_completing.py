"""How words go on that a person types: names of this project, and words that upm has. For the shell; never an error.

What a parameter stands for is told by its metavar, so that a new command has completion without asking for it.
Names come from a small file that commands keep (`ops.names`); the state is not opened, DuckDB is not imported.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from upm_cli.commands._context import COLORS, FORMATS

Words = Callable[[Any], Iterable[str]]  # from the parser's context
STAGES: Final = ("shadow", "canary", "global")
SCREENS: Final = ("overview", "snapshots", "drift", "rollout", "agents", "events", "workers")
VERSION_WORDS: Final = ("latest", "active", "previous")


def complete_names(command: Any, path: str = "") -> None:
    """Give every parameter of `command`, and of the commands below it, the words it can go on with."""
    for param in command.params:
        words = words_of(param, path)
        if words is not None:
            param._custom_shell_complete = _completer(words)
    for name, inner in getattr(command, "commands", {}).items():
        complete_names(inner, f"{path} {name}".strip())


def words_of(param: Any, path: str) -> Words | None:
    """Return where the words of a parameter come from; None: it stands for a file, a number, or free text."""
    metavar = str(param.metavar or "").strip("[]")
    return _OF.get((path.partition(" ")[0], metavar)) or _ANYWHERE.get(metavar)


def _completer(words: Words) -> Callable[[Any, Any, str], list[Any]]:
    def complete(ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        with contextlib.suppress(Exception):  # no project, a file that somebody edited: then there is no word
            return [CompletionItem(word) for word in words(ctx) if word.startswith(incomplete)]
        return []

    return complete


def _home(ctx: Any) -> Path:
    """Return the .upm folder that is meant: -C wherever it stands, the environment, or the nearest project."""
    given, here = None, ctx
    while here is not None and given is None:
        given, here = here.params.get("project"), here.parent
    given = given or os.environ.get("UPM_PROJECT") or os.environ.get("UPM_HOME")
    if given:
        folder = Path(given)
        return folder if folder.name == ".upm" else folder / ".upm"
    start = Path.cwd()
    return next(folder / ".upm" for folder in (start, *start.parents) if (folder / "upm.yaml").is_file())


def _kept(ctx: Any) -> dict[str, Any]:
    from upm_cli.ops import names

    home = _home(ctx)
    found = names.recall(home)
    return found or _from_settings(home.parent)


def _from_settings(project: Path) -> dict[str, Any]:
    """Return the names that upm.yaml has, for a project in which no command ran yet."""
    from upm_cli.config.load import load

    settings = load(project / "upm.yaml", overrides=(), environ=os.environ).settings
    trainers: dict[str, list[int]] = {trainer.name: [] for trainer in settings.supervisor.default_trainers}
    return {
        "trainers": trainers,
        "tenants": [name for name in settings.policy.canary_tenants if name != "*"],
        "webhooks": [webhook.name for webhook in settings.notify.webhooks],
    }


def _names(kind: str) -> Words:
    return lambda ctx: _kept(ctx).get(kind, ())


def _versions(ctx: Any) -> list[str]:
    kept = _kept(ctx)["trainers"]
    named = [value for value in ctx.params.values() if isinstance(value, str) and value in kept]
    mine = [named[0]] if named else list(kept)
    return [*VERSION_WORDS, *dict.fromkeys(str(version) for name in mine for version in kept[name])]


def _trainers_and_versions(ctx: Any) -> list[str]:
    return [*_kept(ctx)["trainers"], *_versions(ctx)]


def _workers(ctx: Any) -> list[str]:
    return sorted(path.stem for path in (_home(ctx) / "run").glob("*.json"))


def _snapshots(ctx: Any) -> list[str]:
    return [f"{name}@{version}" for name, versions in _kept(ctx)["trainers"].items() for version in versions]


def _gates(ctx: Any) -> list[str]:
    from upm_cli.core.gate_guide import GUIDES

    return [guide.gate for guide in GUIDES]


def _events(ctx: Any) -> list[str]:
    from upm_cli.core.event import EVENTS, TELEMETRY

    return [*EVENTS, *TELEMETRY]


def _actions(ctx: Any) -> list[str]:
    from upm_cli.ops.ledger_words import ACTIONS

    return list(ACTIONS)


def _explained(ctx: Any) -> list[str]:
    from upm_cli.ops.explain import pages

    return [*pages(), *_gates(ctx)]


def _helped(ctx: Any) -> list[str]:
    """Return how `upm help …` goes on: topics and commands, then what is below the one that stands there."""
    from upm_cli.ops import help as topics

    root = ctx.find_root().command
    typed = list(ctx.params.get("words") or ())
    if not typed:
        return [*topics.topics(), *root.list_commands(ctx)]
    if typed == [topics.RUNBOOK]:
        return [*topics.runbooks()]
    command = root
    for word in typed:
        command = command.get_command(ctx, word)
    below = list(command.list_commands(ctx)) if hasattr(command, "list_commands") else []
    return below + (_sections() if typed == [topics.CONFIG] else [])


def _sections() -> list[str]:
    from upm_cli.config.schema import SECTIONS

    return [*SECTIONS]


def _keys(ctx: Any) -> list[str]:
    from upm_cli.config.schema import SECTIONS, SPECS

    return [*SECTIONS, *SPECS]


def _key_ids(ctx: Any) -> list[str]:
    from upm_cli.store import keys

    return [key.keyid for key in keys.read(_home(ctx)).believed]


def _any(*words: str) -> Words:
    return lambda ctx: words


_ANYWHERE: Final[dict[str, Words]] = {
    "TRAINER": _names("trainers"),
    "VERSION": _versions,
    "WORKER": _workers,
    "TRAINER] A [B": _trainers_and_versions,  # without the brackets at its ends
    "V": _versions,
    "TENANT": _names("tenants"),
    "ADAPTER": _names("adapters"),
    "WEBHOOK": _names("webhooks"),
    "KEYID": _key_ids,
    "STAGE": _any(*STAGES),
    "GATE": _gates,
    "MODE": _any("shadow", "canary", "active"),
    "CODE|DECISION": _explained,
    "SHELL": _any("bash", "zsh", "fish"),
    "cron|systemd": _any("cron", "systemd"),
    "FMT": _any(*FORMATS),
    "WHEN": _any(*COLORS),
    "STREAM": _names("trainers"),
    "KEY=VALUE": lambda ctx: [f"{key}=" for key in _keys(ctx)],
    "breach|warn": _any("breach", "warn"),
}
_OF: Final[dict[tuple[str, str], Words]] = {
    ("adapter", "T"): lambda ctx: [*_kept(ctx)["trainers"], *_kept(ctx).get("tenants", ())],
    ("activate", "T"): _names("tenants"),
    ("gate", "T"): _names("tenants"),
    ("adapter", "KEY"): _names("adapters"),
    ("adapter", "KIND"): _any("directory", "http"),
    ("config", "KEY"): _keys,
    ("events", "TYPE"): _events,
    ("audit", "TYPE"): _actions,
    ("audit", "NAME"): lambda ctx: [*_kept(ctx)["trainers"], *_snapshots(ctx)],
    ("tui", "NAME"): _any(*SCREENS),
    ("top", "NAME"): _any(*SCREENS),
    ("help", "TOPIC|COMMAND"): _helped,
    ("schedule", "cron|systemd"): _any("cron", "systemd"),
    ("quarantine", "ID"): _snapshots,
    ("ingest", "KIND"): _any("windows", "outcomes"),
    ("ingest", "FMT"): _any("auto", "jsonl", "csv", "parquet"),
    ("train", "FMT"): _any("auto", "jsonl", "csv", "parquet"),
    ("drift-report", "FMT"): _any("table", "json", "md", "html"),
    ("drift-report", "WHAT"): _any("tenant", "feature", "served"),
    ("rollout", "ITEM"): _any("dashboard", "runbook"),
    ("rollout", "STEP"): _any("shadow", "production"),
}

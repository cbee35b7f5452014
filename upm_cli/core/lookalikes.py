"""Fields of a record that look like those a window has: people call the same thing by other names."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from upm_cli.nearest import nearest

REQUIRED: Final = ("window_id", "window_start", "window_end", "features")
OWN: Final = frozenset((*REQUIRED, "tenant_id", "label", "labels"))
_CUTOFF: Final = 0.8  # how alike two names have to be that are no known synonyms
_SYNONYMS: Final = {
    "window_id": "id eventid recordid rowid key uuid guid uid",
    "window_start": "start starttime startedat startsat begin from timestamp ts time datetime date at eventtime "
    "occurredat createdat",
    "window_end": "end endtime endedat endsat stop finish to until",
    "features": "feature data values attributes inputs input payload properties fields x",
}


def lookalikes(names: Iterable[str]) -> dict[str, str]:
    """Return which of the fields `names` seem to be a required one that is not among them: name → required field."""
    given = list(dict.fromkeys(names))
    free = [name for name in given if name not in OWN]
    meant: dict[str, str] = {}
    for wanted in REQUIRED:
        if wanted in given:
            continue
        found = _alike(wanted, [name for name in free if name not in meant])
        if found is not None:
            meant[found] = wanted
    return meant


def in_words(meant: dict[str, str]) -> str:
    """Return "did you mean 'window_start' by 'start'?" for what `lookalikes` found, or nothing."""
    asked = " and ".join(f"{wanted!r} by {name!r}" for name, wanted in meant.items())
    return f"did you mean {asked}?" if asked else ""


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question for the columns `names` of a table, where every other column may be a feature."""
    return in_words({name: wanted for name, wanted in lookalikes(names).items() if wanted != "features"})


def labels_alone(names: Sequence[str]) -> str:
    """Return what to do with a table of labels that came after their windows; nothing for any other table."""
    given = set(names)
    if not {"window_id", "label"} <= given or given & {"window_start", "window_end"} or did_you_mean(names):
        return ""
    return 'labels that come after their windows are lines of JSON: {"window_id": …, "label": …}'


def _alike(wanted: str, names: list[str]) -> str | None:
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    for word in (wanted.replace("_", ""), *_SYNONYMS[wanted].split()):
        if word in plain:
            return plain[word]
    return nearest(wanted, names, _CUTOFF)

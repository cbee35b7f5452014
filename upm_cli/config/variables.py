"""The environment variables that upm reads: one table, from which `upm help environment` and the docs are made."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, or a few that go together, and what it does."""

    names: tuple[str, ...]
    does: str


VARIABLES: Final = (
    Variable(("UPM_PROJECT", "UPM_HOME"), "The project folder, like `-C`; the first of them counts."),
    Variable(("UPM_CONFIG",), "The configuration file, like `--config`."),
    Variable(("UPM_OUTPUT",), "The output format, like `-o`: table, json, jsonl or tsv."),
    Variable(
        ("UPM_<SECTION>__<KEY>",),
        "A setting, as in `UPM_DRIFT_MONITOR__DRIFT_THRESHOLD=0.15`: above upm.yaml, below `--set`. "
        "A name that no setting has is an error.",
    ),
    Variable(
        ("UPM_FEATURES_UNIFIED_MODEL", "TL_FEATURES_UNIFIED_MODEL"),
        "The setting `features.unified_model`; the first of them counts.",
    ),
    Variable(("NO_COLOR",), "Not empty: no colour."),
    Variable(("FORCE_COLOR",), "Not empty: colour in pipes too. `--color` and `NO_COLOR` are above it."),
    Variable(("TERM",), "Empty or `dumb`: no colour, and no live view."),
    Variable(("COLUMNS",), "How wide help and tables are, where the terminal does not say."),
    Variable(("SHELL",), "Which shell `upm completion` is for when it is not named."),
    Variable(("TMPDIR",), "Where details of an internal error go outside of a project."),
    Variable(("XDG_STATE_HOME", "HOME"), "Where an agent keeps what it follows: `~/.local/state/upm-agent`."),
    Variable(("XDG_CONFIG_HOME",), "Where the systemd units of a user are: `~/.config/systemd/user` without it."),
    Variable(
        ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"), "Set by systemd: `upm up` tells it there that it is well."
    ),
    Variable(("JOURNAL_STREAM",), "Set by systemd: lines for the journal have no times of their own."),
)


def table() -> str:
    """Return the variables as a Markdown table."""
    rows = [f"| {', '.join(f'`{name}`' for name in one.names)} | {one.does} |" for one in VARIABLES]
    return "\n".join(["| variable | what it does |", "|---|---|", *rows]) + "\n"

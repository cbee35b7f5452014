"""How much of what a trainer has learned served models had a hand in."""

from collections.abc import Mapping
from typing import Any, Final

from upm_cli.core.records import Trainer

NO_INFLUENCE: Final[Mapping[str, Any]] = {"windows": 0, "acted": 0, "share": None, "versions": []}


def influence_of(trainer: Trainer) -> dict[str, Any]:
    """Return how many of the windows a trainer has learned models were asked about, and which of these acted."""
    versions = []
    for version, (unknown, no, yes) in sorted(trainer.influence.items(), key=lambda item: int(item[0])):
        share = yes / trainer.trained if trainer.trained else None
        counts = {"acted": yes, "not_acted": no, "unknown": unknown}
        versions.append({"version": int(version), "windows": yes + no + unknown, **counts, "share": share})
    acted = sum(each["acted"] for each in versions)
    return {
        "windows": sum(each["windows"] for each in versions),
        "acted": acted,
        "share": acted / trainer.trained if trainer.trained else None,
        "versions": versions,
    }

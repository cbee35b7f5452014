"""Events and ledger entries as lines for people: what they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line: when (ISO 8601, UTC), what kind of thing, to whom it happened, and what."""

    at: str
    kind: str
    subject: str
    text: str
    is_grave: bool = False
    id: str = ""  # of the event, ledger-12 for entry 12 of the ledger
    actor: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def number(self) -> int | None:
        """The number of its ledger entry; None: it is an event that no entry tells of."""
        return int(self.id.removeprefix("ledger-")) if self.id.startswith("ledger-") else None

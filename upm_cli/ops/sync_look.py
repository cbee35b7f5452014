"""Looking: asking places that are in sync what they serve, so that what was lost or swapped is noticed."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.adapters.base import Deadline
from upm_cli.adapters.directory import Directory
from upm_cli.clock import Clock
from upm_cli.core.delivery.agents import Word, count
from upm_cli.core.delivery.claims import key_of
from upm_cli.core.delivery.machine import Found, place
from upm_cli.core.delivery.memo import Agents
from upm_cli.core.records import Adapter
from upm_cli.ops.sync_record import Look
from upm_cli.ops.sync_send import Kinds

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings


@dataclass(frozen=True, slots=True)
class Looker:
    """Does the looking of one adapter sync."""

    settings: "Settings"
    clock: Clock
    kinds: Kinds

    def look(self, rows: Sequence[Adapter]) -> list[Look]:
        """Look at each place, one after the other; one that can't be asked now is left out. Never raises."""
        found = []
        for row in rows:
            with contextlib.suppress(Exception):  # the next look may have more luck, and a delivery would tell
                found.append(self.look_at(row))
        return found

    def look_at(self, row: Adapter) -> Look:
        """Return what the place of `row` serves. Raises DeliveryError and other UpmErrors."""
        deadline = Deadline.after(self.clock, self.settings.adapter_sync.sync_timeout_ms / 1000)
        adapter = self.kinds.open_adapter(row, self.settings, self.clock)
        ack = adapter.report(row.trainer, row.tenant_id, deadline)
        agents = self._count(adapter, row, deadline) if isinstance(adapter, Directory) else None
        return Look(
            key=key_of(row),
            sent=place(row),
            at_ms=self.clock.now_ms(),
            found=None if ack is None else Found(place=ack.place, version=ack.version, digest=ack.digest),
            agents=agents,
        )

    def _count(self, directory: Directory, row: Adapter, deadline: Deadline) -> Agents:
        """Return how the agents of a directory stand; all zero when none of them ever wrote there."""
        heard = directory.heard(row.trainer, row.tenant_id, deadline)
        words = [Word(digest=each.ack.digest, at_ms=each.at_ms) for each in heard]
        return count(words, row.acked_digest, self.clock.now_ms()) or Agents()


def is_directory(row: Adapter) -> bool:
    """Say whether `row` is a place that agents come to: what they serve is only known from what they write there."""
    return row.kind == "directory"

"""What an agent serves, as one value, and where it hears of what it should serve."""

from dataclasses import dataclass
from typing import Protocol

from upm_cli.agent.files import Stamp
from upm_cli.agent.loading import Loaded, OpenFile
from upm_cli.agent.values import Serving
from upm_cli.core.delivery.pointer import Pointer


class Origin(Protocol):
    """Where pointers come from."""

    def stamp(self) -> Stamp | None:
        """Return what changes when the pointer may have changed; None: only `fetch` can tell."""
        ...

    def fetch(self) -> bytes:
        """Return the envelope that is there. Raises AgentError."""
        ...

    def opener(self, pointer: Pointer) -> OpenFile:
        """Return what opens the stored file of a model, and fetches it first where that is needed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """All that predictions need, in one value that never changes."""

    loaded: Loaded
    pointer: Pointer
    envelope: bytes
    keyid: str | None
    loaded_at_ms: int

    def describe(self, now_ms: int) -> Serving:
        """Return what is told about it."""
        pointer = self.pointer
        return Serving(
            trainer=pointer.trainer,
            tenant=pointer.tenant or None,
            version=pointer.version,
            digest=pointer.digest,
            epoch=pointer.place.epoch,
            serial=pointer.place.serial,
            ring=pointer.ring,
            kind=pointer.kind,
            loaded_at_ms=self.loaded_at_ms,
            expires_at_ms=pointer.expires_at_ms,
            is_stale=pointer.expires_at_ms is not None and now_ms >= pointer.expires_at_ms,
            keyid=self.keyid,
        )

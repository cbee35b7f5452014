"""What an adapter's row remembers beside its columns, in `Adapter.metadata`."""

from dataclasses import dataclass, replace
from typing import Any

from upm_cli.core.delivery.pointer import Place
from upm_cli.core.records import Adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the newest pointer of a row says, so that nobody has to unpack it to see whether it still holds."""

    keyid: str | None = None  # that signed it
    signed_by: tuple[str, ...] = ()  # keys that signed its snapshot
    ring: str = ""
    kind: str = "activate"
    issued_at_ms: int = 0
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """How many agents of a place serve what they should. `stale`: silent for minutes. All zero: none has spoken."""

    on: int = 0
    behind: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """The metadata of a row as values."""

    token_file: str | None = None
    ca_file: str | None = None
    is_shadow: bool = False  # it gets the newest snapshot, whatever tenants get
    agent: str | None = None  # the name that the other side gives itself
    agents: Agents | None = None
    note: str = ""  # why nothing is sent, or nothing new
    sent: Sent | None = None
    seen: Place | None = None  # the other side has taken a pointer from here, beyond all of ours
    climbs: int = 0  # how often, since it last confirmed one, a pointer was made anew to be later than `seen`
    lowers: Place | None = None  # a person lets it step down from here
    ended: Place | None = None  # the newest pointer that has been counted as delivered or given up

    @classmethod
    def of(cls, row: Adapter) -> "Memo":
        """Return the memo in the metadata of `row`; what it does not know is left out."""
        plain = row.metadata
        sent, agents = plain.get("sent"), plain.get("agents")
        return cls(
            token_file=plain.get("token_file"),
            ca_file=plain.get("ca_file"),
            is_shadow=bool(plain.get("is_shadow")),
            agent=plain.get("agent"),
            agents=None if agents is None else Agents(**agents),
            note=plain.get("note", ""),
            sent=None if sent is None else Sent(**{**sent, "signed_by": tuple(sent.get("signed_by", ()))}),
            seen=_place(plain.get("seen")),
            climbs=plain.get("climbs", 0),
            lowers=_place(plain.get("lowers")),
            ended=_place(plain.get("ended")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the metadata; what is not known is left out."""
        plain = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return {name: value for name, value in plain.items() if value}


def remembering(row: Adapter, **changes: Any) -> dict[str, Any]:
    """Return the metadata of `row` with changes to its memo."""
    plain = dict(row.metadata)
    for name, value in changes.items():
        if found := _plain(value):
            plain[name] = found
        else:
            plain.pop(name, None)
    return plain


def remember(row: Adapter, **changes: Any) -> Adapter:
    """Return `row` with changes to its memo."""
    return replace(row, metadata=remembering(row, **changes))


def _place(plain: Any) -> Place | None:
    return None if plain is None else Place(*plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Place):
        return [value.epoch, value.serial]
    if isinstance(value, Sent | Agents):
        return {key: _plain(getattr(value, key)) for key in value.__slots__}
    return list(value) if isinstance(value, tuple) else value

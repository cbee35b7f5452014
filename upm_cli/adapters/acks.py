"""What agents say they serve, read strictly: it decides whether something counts as delivered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from upm_cli.adapters.base import Ack
from upm_cli.core.delivery.envelope import damaged
from upm_cli.core.delivery.places import is_digest
from upm_cli.core.delivery.pointer import Place
from upm_cli.errors import UsageError
from upm_cli.ids import check_name

SCHEMA_VERSION: Final = 1
_COUNT: Final = 1 << 62


def read_ack(plain: Any) -> Ack:
    """Return the ack that `plain` is. Fields that are not known are passed over. Raises IntegrityError."""
    if not isinstance(plain, Mapping) or plain.get("schema_version") != SCHEMA_VERSION:
        raise damaged("the agent's answer is not an ack of schema 1")
    try:
        return Ack(
            agent=check_name(_text(plain["agent"]), "agent"),
            trainer=check_name(_text(plain["trainer"]), "trainer"),
            tenant="" if plain["tenant"] is None else _text(plain["tenant"]),
            version=_count(plain["version"], 1),
            digest=_digest(plain["digest"]),
            place=Place(_count(plain["epoch"]), _count(plain["serial"])),
            loaded_at_ms=_instant(plain["loaded_at"]),
        )
    except KeyError as exc:
        raise damaged(f"the agent's ack has no {exc.args[0]}") from exc
    except (TypeError, ValueError, UsageError) as exc:
        raise damaged(f"the agent's ack can't be read: {exc}") from exc


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError(f"{str(value)[:40]!r} is no text of at most 256 characters")
    return value


def _count(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= _COUNT:
        raise ValueError(f"{str(value)[:40]!r} is no whole number from {least}")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(f"{str(value)[:80]!r} is no sha256")
    return value


def _instant(value: Any) -> int | None:
    if value is None:
        return None
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return round(at.timestamp() * 1000)

"""Wishes: what somebody wants of the supervisor or of one of its workers, whether or not a signal arrives."""

from typing import Final

from upm_cli.core.records import Wish
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx

SUPERVISOR: Final = "supervisor"


def list_all(r: Reader) -> list[Wish]:
    """Return the newest wish about each worker, in the order in which they were made."""
    return [codec(Wish).decode(row) for row in r.query("wishes.list_all")]


def newest_serial(r: Reader) -> int:
    """Return the serial of the last wish; 0 when there was none."""
    return max((wish.serial for wish in list_all(r)), default=0)


def put(tx: Tx, worker: str, desired: str, *, actor: str, reason: str, now_ms: int) -> Wish:
    """Add a wish; it replaces an older one about the same worker."""
    serial = newest_serial(tx) + 1
    wish = Wish(worker=worker, desired=desired, serial=serial, actor=actor, reason=reason, at_ms=now_ms)
    tx.put("wishes", codec(Wish).encode(wish))
    return wish


def begin(tx: Tx, *, actor: str, now_ms: int) -> Wish:
    """Forget all wishes, as a new supervisor begins; what was wanted of an older one is not wanted of it."""
    serial = newest_serial(tx) + 1
    tx.execute("wishes.clear")
    wish = Wish(worker=SUPERVISOR, desired="run", serial=serial, actor=actor, reason="", at_ms=now_ms)
    tx.put("wishes", codec(Wish).encode(wish))
    return wish

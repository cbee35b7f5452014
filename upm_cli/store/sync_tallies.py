"""Tallies of adapter sync: what ended in each hour."""

from collections.abc import Iterable

from upm_cli.core.delivery.rate import KEPT_MS, Tally
from upm_cli.store.rows import codec, instant
from upm_cli.store.unit import Reader, Tx


def list_since(r: Reader, since_ms: int) -> list[Tally]:
    """Return the tallies of the hours that began at or after `since_ms`, oldest first."""
    return [codec(Tally).decode(row) for row in r.query("sync_tallies.list_since", since=instant(since_ms))]


def add(tx: Tx, tallies: Iterable[Tally]) -> None:
    """Add what ended to the hours it ended in, and forget the hours that are too old."""
    sums: dict[int, Tally] = {}
    for each in tallies:
        known = sums.get(each.hour_ms)
        sums[each.hour_ms] = each if known is None else known + each
    if not sums:
        return
    for before in list_since(tx, min(sums)):
        if before.hour_ms in sums:
            sums[before.hour_ms] += before
    for each in sums.values():
        tx.put("sync_tallies", codec(Tally).encode(each))
    tx.execute("sync_tallies.forget_before", before=instant(max(sums) - KEPT_MS))

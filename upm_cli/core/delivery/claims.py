"""Which deliveries begin now: rollbacks first, whoever has failed last, never more than a batch at once.

At most `batch` adapters are claimed at any time, waiting for a thread or under way. Those that failed lately share a
part of that, so that any number of dead endpoints leaves room for the living.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from upm_cli.core.delivery.breaker import Breaker, BreakerPolicy
from upm_cli.core.delivery.machine import is_due
from upm_cli.core.records import Adapter

Key = tuple[str, str]  # (adapter_key, tenant_id)

_SUSPECT_SHARE: Final = 0.5


def key_of(row: Adapter) -> Key:
    """Return what `row` is known by."""
    return row.adapter_key, row.tenant_id


def endpoint_of(row: Adapter) -> str:
    """Return what fails together with the place of `row`: a folder, or the host and port of a URL."""
    if row.kind != "http":
        return f"{row.kind}:{row.location}"
    scheme, _, rest = row.location.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPolicy:
    """How many adapters are at work at once."""

    batch: int = 100
    parallel: int = 16

    def suspects(self) -> int:
        """Return how many of those that failed lately may be claimed, so that others always find a free thread."""
        return max(1, int(min(self.batch, self.parallel) * _SUSPECT_SHARE))


def claim(
    rows: Collection[Adapter],
    under_way: Collection[Key],
    breakers: Mapping[str, Breaker],
    now_ms: int,
    policy: ClaimPolicy,
    breaking: BreakerPolicy,
) -> list[Adapter]:
    """Return the rows to send now, in that order. `under_way` are those claimed before that have not ended."""
    room = policy.batch - len(under_way)
    if room <= 0:
        return []
    ready = [row for row in rows if is_due(row, now_ms) and key_of(row) not in under_way]
    ready.sort(key=_urgency)
    suspects = policy.suspects() - sum(1 for row in rows if key_of(row) in under_way and row.failures)
    claimed: list[Adapter] = []
    probed: set[str] = set()
    for row in ready:
        if len(claimed) >= room:
            break
        endpoint = endpoint_of(row)
        breaker = breakers.get(endpoint, Breaker())
        if breaker.is_open(breaking, now_ms) or endpoint in probed:
            continue
        if row.failures:
            if suspects <= 0:
                continue
            suspects -= 1
        if breaker.failures >= breaking.failures:
            probed.add(endpoint)
        claimed.append(row)
    return claimed


def blocked_until_ms(
    rows: Iterable[Adapter], breakers: Mapping[str, Breaker], now_ms: int, breaking: BreakerPolicy
) -> int | None:
    """Return when the first of the due `rows` may pass its open breaker; None: none of them waits for one."""
    found = [breakers[endpoint_of(row)] for row in rows if is_due(row, now_ms) and endpoint_of(row) in breakers]
    return min((each.opens_at_ms(breaking) for each in found if each.is_open(breaking, now_ms)), default=None)


def _urgency(row: Adapter) -> tuple[bool, bool, int, str, str]:
    sent = row.metadata.get("sent") or {}  # not through Memo: this is asked of every row again and again
    return (row.failures > 0, sent.get("kind") != "rollback", row.attempts, row.adapter_key, row.tenant_id)

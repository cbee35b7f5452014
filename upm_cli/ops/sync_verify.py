"""Proving what is served: every place is asked now, and held against what it has confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from upm_cli.adapters.kinds import Kinds as AllKinds
from upm_cli.clock import Clock
from upm_cli.core.delivery.machine import Found, acked
from upm_cli.core.delivery.memo import Agents
from upm_cli.core.records import Adapter
from upm_cli.ops import adapters as ops
from upm_cli.ops.crew import in_parallel
from upm_cli.ops.sync import GRACE_S
from upm_cli.ops.sync_look import Looker
from upm_cli.ops.sync_send import Kinds, as_failure
from upm_cli.store import adapters

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

OK: Final = "ok"  # it serves what it has confirmed
DIFFERS: Final = "differs"  # it serves something else, or nothing
UNREACHABLE: Final = "unreachable"  # it did not say
NOTHING: Final = "nothing"  # nothing was ever delivered there, and nothing is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What one place serves, and whether that is what it should by its last confirmation."""

    row: Adapter
    verdict: str
    detail: str
    found: Found | None = None
    agents: Agents | None = None


def verify(
    store: "Store", clock: Clock, settings: "Settings", key: str | None = None, *, kinds: Kinds | None = None
) -> list[Verified]:
    """Ask the places of adapter `key` (None: of all) what they serve. Raises NotFoundError for an unknown key."""
    with store.read() as reader:
        rows = adapters.list_all(reader) if key is None else ops.find(reader, key)
    looker = Looker(settings, clock, kinds or AllKinds(clock))
    limits = settings.adapter_sync
    answers = in_parallel(
        [partial(_ask, looker, row) for row in rows], limits.max_parallel, limits.sync_timeout_ms / 1000 + GRACE_S
    )
    silent = "it did not answer, and could not be interrupted"
    return [
        each or Verified(row=row, verdict=UNREACHABLE, detail=silent) for row, each in zip(rows, answers, strict=True)
    ]


def _ask(looker: Looker, row: Adapter) -> Verified:
    try:
        look = looker.look_at(row)
    except Exception as exc:  # one place that fails is one verdict
        return Verified(row=row, verdict=UNREACHABLE, detail=as_failure(exc).message)
    verdict, detail = judge(row, look.found)
    return Verified(row=row, verdict=verdict, detail=detail, found=look.found, agents=look.agents)


def judge(row: Adapter, found: Found | None) -> tuple[str, str]:
    """Return the verdict on a place that was found to serve `found`, in one word and in words."""
    if found is None:
        if row.acked_version is None:
            return NOTHING, "nothing was delivered yet"
        return DIFFERS, f"it serves nothing that could be loaded, instead of v{row.acked_version}"
    told = f"v{found.version} of {found.place}"
    if (found.place, found.digest) == (acked(row), row.acked_digest):
        return OK, told
    should = "nothing" if row.acked_version is None else f"v{row.acked_version} of {acked(row)}"
    return DIFFERS, f"it serves {told}, and has confirmed {should}"


def as_json(each: Verified) -> dict[str, Any]:
    """Return one verdict in plain values."""
    row, found = each.row, each.found
    return {
        "adapter_key": row.adapter_key,
        "tenant": row.tenant_id,
        "trainer": row.trainer,
        "verdict": each.verdict,
        "detail": each.detail,
        "version": None if found is None else found.version,
        "digest": None if found is None else found.digest,
        "epoch": None if found is None else found.place.epoch,
        "serial": None if found is None else found.place.serial,
        "confirmed_version": row.acked_version,
        "desired_version": row.version,
    }


def failed(verdicts: Sequence[Verified]) -> tuple[int, int]:
    """Return how many places serve something else, and how many did not say."""
    words = [each.verdict for each in verdicts]
    return words.count(DIFFERS), words.count(UNREACHABLE)

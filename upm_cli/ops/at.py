"""What was live at an instant: `upm at`, and versions named by a time (`@2h`)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from upm_cli.core.past import live_at, standing_at
from upm_cli.core.records import Activation, Ring
from upm_cli.core.versions import default_ring
from upm_cli.errors import NotFoundError
from upm_cli.ids import iso
from upm_cli.store import activations, ledger, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader, Store


def at(store: "Store", names: Sequence[str], at_ms: int) -> list[dict[str, Any]]:
    """Return for each trainer what it served at `at_ms` by which decision, its rollout, pins and quarantines then.

    What was served is from the state, the rest from the ledger. Raises IntegrityError where the ledger can't be read.
    """
    with store.read() as reader:
        head = reader.meta.ledger
        seen = {name: (trainers.find(reader, name), activations.history(reader, name)) for name in names}
    entries = ledger.read(store.home, head)
    numbers = {e["details"]["decision_id"]: e["n"] for e in entries if "decision_id" in e["details"]}
    found = []
    for name, (trainer, history) in seen.items():
        live = live_at(history, at_ms)
        then = standing_at(entries, name, iso(at_ms))
        found.append(
            {
                "trainer": name,
                "existed": trainer is not None and trainer.created_at_ms <= at_ms,
                "rings": [_ring(move, numbers) for move in reversed(live.values())],
                "first_activation_at": iso(min(move.at_ms for move in history)) if history else None,
                "rollout": None if then.rollout is None else asdict(then.rollout),
                "ring_pins": dict(then.ring_pins),
                "anchor": then.anchor,
                "pinned": list(then.pinned),
                "quarantined": list(then.quarantined),
                "paused": then.paused,
            }
        )
    return found


def _ring(move: Activation, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "ring": move.ring.value,
        "version": move.version,
        "percent": move.percent,
        "rest_version": move.rest_version,
        "previous_version": move.previous_version,
        "epoch": move.epoch,
        "since": iso(move.at_ms),
        "by": move.kind,
        "actor": move.actor,
        "reason": move.reason or None,
        "decision_id": move.decision_id,
        "ledger": numbers.get(move.decision_id),
    }


def version_at(reader: "Reader", name: str, at_ms: int, ring: Ring | None = None) -> int:
    """Return the version that was live in `ring` (default: the one that reached tenants last) at `at_ms`.

    Raises NotFoundError when nothing was.
    """
    live = live_at(activations.history(reader, name), at_ms)
    where = ring or default_ring(live)
    if where is None or where not in live:
        raise NotFoundError(
            f"trainer {name} had nothing live" + (f" in {where}" if where else "") + f" at {iso(at_ms)}",
            hint=f"upm at {iso(at_ms)} {name} shows what was; upm snapshot list {name} what there is",
            code="UPM-E044",
        )
    return live[where].version

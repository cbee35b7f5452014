"""Events and ledger entries as lines for people: how they are made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from upm_cli.ops.events import LEDGER
from upm_cli.ops.ledger_words import what
from upm_cli.tui.text import NONE, loss_of, plain
from upm_cli.tui.told import Told

#: Told by a ledger entry of the same commit, which also says who and why.
_TWICE: Final = (
    "ai.upm.snapshot.activated",
    "ai.upm.drift.quarantine",
    "ai.upm.evidence.verdict",
    "ai.upm.rollback",
    "ai.upm.rollout.changed",
    f"{LEDGER}snapshot.create",
)
_GRAVE: Final = (
    "drift.quarantine",
    "evidence.quarantine",
    "rollout.withdraw",
    "snapshot.refuse",
    "snapshot.rollback",
    "state.restored",
)


def told(events: Iterable[Mapping[str, Any]]) -> tuple[Told, ...]:
    """Return the CloudEvents as lines, in their order; what a ledger entry tells better is left out."""
    return tuple(_line(event) for event in events if event["type"] not in _TWICE)


def _line(event: Mapping[str, Any]) -> Told:
    data, kind = event["data"], str(event["type"])
    if kind.startswith(LEDGER):
        action, details = str(data["action"]), data["details"]
        words = [what(action, details), *_who(data["actor"], details)]
        subject = str(data["subject"])
        return Told(
            at=event["time"],
            kind=action,
            subject=plain(subject),
            text=" · ".join(plain(word) for word in words if word),
            is_grave=action in _GRAVE,
            id=str(event["id"]),
            actor=str(data["actor"]),
            data=data,
        )
    kind = kind.removeprefix("ai.upm.")
    subject = str(event["source"]).removeprefix("/trainers/")
    return Told(
        at=event["time"],
        kind=kind,
        subject=plain(data.get("snapshot_id", subject)),
        text=plain(_fact(data)),
        id=str(event["id"]),
        data=data,
    )


def _who(actor: str, details: Mapping[str, Any]) -> Sequence[str]:
    reason = str(details.get("reason") or "")
    return (actor, f"“{reason}”" if reason else "")


def _fact(data: Mapping[str, Any]) -> str:
    """Return what an event that no ledger entry tells of says."""
    metadata = data.get("metadata", {})
    if "features" in data:
        return ", ".join(map(str, data["features"][:5])) or "no feature drifts any more"
    parts = [f"{metadata['windows']:,} windows"] if "windows" in metadata else []
    loss = loss_of(metadata.get("metrics", {}))
    return " · ".join(parts if loss == NONE else [*parts, f"loss {loss}"])

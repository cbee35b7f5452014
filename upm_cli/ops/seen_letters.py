"""Saying that dead letters were looked at: they stay, but only those that come from now on are a problem."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.core.records import Stream
from upm_cli.errors import UsageError
from upm_cli.ops import authority
from upm_cli.store import feedback, seen, streams, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """Of the `total` dead letters of a trainer, `count` are, or would be, acknowledged for the first time."""

    count: int
    total: int


def waiting(store: "Store", settings: "Settings", name: str, *, actor: str) -> Acknowledged:
    """Return what `acknowledge` would do. Raises RefusedError when the actor may not."""
    authority.require(settings, store.home, actor, "letters.seen")
    with store.read() as reader:
        return _count(reader, name)


def acknowledge(store: "Store", settings: "Settings", name: str, *, actor: str, reason: str) -> Acknowledged:
    """Say that the dead letters of trainer `name` were looked at, on the record. Nothing new: nothing changes.

    Raises UsageError without a reason, RefusedError when the actor may not.
    """
    authority.require(settings, store.home, actor, "letters.seen")
    if not reason.strip():
        raise UsageError(
            "to acknowledge dead letters needs a reason: it is what others are told who look for them",
            hint="--reason '…'",
            code="UPM-E029",
        )
    with store.write(actor=actor) as tx:
        done = _count(tx, name)
        trainer = trainers.find(tx, name)
        if trainer is not None and done.count:
            stream = streams.find(tx, trainer.stream) or Stream(name=trainer.stream)
            seen.acknowledge(tx, stream, trainer, feedback.get(tx, name))
            tx.ledger("letters.seen", name, count=done.count, total=done.total, stream=stream.name, reason=reason)
    return done


def _count(reader: "Reader", name: str) -> Acknowledged:
    trainer = trainers.find(reader, name)
    if trainer is None:
        return Acknowledged(count=0, total=0)
    stream, told = streams.find(reader, trainer.stream) or Stream(name=trainer.stream), feedback.get(reader, name)
    return Acknowledged(
        count=seen.of(reader, stream.name, name).left(stream, trainer, told),
        total=stream.dead_letter + trainer.dead_letter + told.dead_letter,
    )

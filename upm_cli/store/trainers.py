"""Trainers, by name."""

from upm_cli.core.records import Trainer
from upm_cli.errors import NotFoundError
from upm_cli.nearest import nearest
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def find(r: Reader, name: str) -> Trainer | None:
    """Return the trainer called `name`, if there is one."""
    rows = r.query("trainers.find", name=name)
    return codec(Trainer).decode(rows[0]) if rows else None


def get(r: Reader, name: str) -> Trainer:
    """Return the trainer called `name`. Raises NotFoundError with the nearest name there is."""
    trainer = find(r, name)
    if trainer is None:
        raise _unknown(name, [row["name"] for row in r.query("trainers.names")])
    return trainer


def list_all(r: Reader) -> list[Trainer]:
    """Return all trainers by name."""
    return [codec(Trainer).decode(row) for row in r.query("trainers.list_all")]


def put(tx: Tx, trainer: Trainer) -> None:
    """Add or replace a trainer."""
    tx.put("trainers", codec(Trainer).encode(trainer))


def remove(tx: Tx, name: str) -> None:
    """Forget a trainer's row; what it made stays."""
    tx.execute("trainers.remove", name=name)


def _unknown(name: str, known: list[str]) -> NotFoundError:
    near = nearest(name, known)
    if near is not None:
        hint = f"did you mean {near!r}? All of them: upm trainer list"
    elif known:
        hint = f"there are {len(known)}: upm trainer list"
    else:
        hint = f"there are none yet: upm train --source FILE, or upm trainer add {name}"
    return NotFoundError(
        f"no trainer {name!r}",
        hint=hint,
        code="UPM-E040",
        context={"name": name, "near": [near] if near else []},
    )

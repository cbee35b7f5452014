"""Pins: what keeps a (trainer, ring) on a version."""

from upm_cli.core.records import Pin, Ring
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, pin: Pin) -> None:
    """Add or replace the pin of a ring."""
    tx.put("pins", codec(Pin).encode(pin))


def live(r: Reader, trainer: str) -> dict[Ring, Pin]:
    """Return the pins of a trainer."""
    found = [codec(Pin).decode(row) for row in r.query("pins.live", trainer=trainer)]
    return {pin.ring: pin for pin in found}


def remove(tx: Tx, trainer: str, ring: Ring) -> None:
    """Lift a pin."""
    tx.execute("pins.remove", trainer=trainer, ring=ring.value)

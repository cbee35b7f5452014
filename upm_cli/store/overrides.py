"""Overrides: recorded, expiring exceptions to gates."""

from upm_cli.core.records import Override
from upm_cli.errors import NotFoundError
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, override: Override) -> None:
    """Add or replace an override."""
    tx.put("overrides", codec(Override).encode(override))


def get(r: Reader, override_id: str) -> Override:
    """Return an override by its id. Raises NotFoundError."""
    rows = r.query("overrides.find", override_id=override_id)
    if not rows:
        raise NotFoundError(f"no override {override_id!r}", hint="upm gate overrides", code="UPM-E047")
    return codec(Override).decode(rows[0])


def list_for(r: Reader, trainer: str) -> list[Override]:
    """Return the overrides of a trainer, oldest first, expired ones too."""
    return [codec(Override).decode(row) for row in r.query("overrides.list_for", trainer=trainer)]

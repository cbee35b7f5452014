"""Adapters: where models are handed to for which tenant, what is to be there and what is."""

from collections.abc import Sequence

from upm_cli.core.records import Adapter
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def list_all(r: Reader) -> list[Adapter]:
    """Return every adapter, by key and tenant."""
    return [codec(Adapter).decode(row) for row in r.query("adapters.list_all")]


def find(r: Reader, adapter_key: str) -> list[Adapter]:
    """Return the adapters of one key, by tenant; empty when there is none."""
    return [codec(Adapter).decode(row) for row in r.query("adapters.find", adapter_key=adapter_key)]


def put_many(tx: Tx, rows: Sequence[Adapter]) -> None:
    """Add or replace adapters; no (key, tenant) may occur twice among `rows`."""
    if rows:
        encoded = [codec(Adapter).encode(row) for row in rows]
        columns = {name: [row[name] for row in encoded] for name in codec(Adapter).columns}
        tx.execute("adapters.replace_many", **columns)


def remove(tx: Tx, adapter_key: str, tenant_id: str) -> None:
    """Forget an adapter; what lies at its place stays there."""
    tx.execute("adapters.remove", adapter_key=adapter_key, tenant_id=tenant_id)

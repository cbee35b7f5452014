"""The rows of adapters and of cursors: what is put is there, whole, and many at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Adapter, AdapterStatus, Mode
from upm_cli.store import adapters, cursors
from upm_cli.store.session import Store

BARE = Adapter(
    adapter_key="edge", tenant_id="", trainer="main", kind="directory", location="/srv/models", mode=Mode.SHADOW
)
FULL = replace(
    BARE,
    tenant_id="acmé\n'; DROP TABLE adapters; --",
    kind="http",
    location="https://agent.example:8765",
    mode=Mode.ACTIVE,
    status=AdapterStatus.ERRORED,
    version=42,
    digest="d" * 64,
    epoch=2**40,
    serial=2**41,
    pointer='{"payload": "…"}',
    acked_version=41,
    acked_digest="c" * 64,
    acked_epoch=7,
    acked_serial=9,
    attempts=3,
    failures=5,
    next_attempt_at_ms=1_764_000_000_123,
    last_error="refused",
    last_error_at_ms=1_764_000_000_000,
    last_synced_at_ms=1_763_999_999_999,
    created_at_ms=1_700_000_000_000,
    updated_at_ms=1_764_000_000_000,
    metadata={"token_file": "/etc/upm/token", "nested": {"a": [1, None]}},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / ".upm", SystemClock())


def test_adapters_come_back_whole_by_key_and_tenant(store: Store) -> None:
    with store.write() as tx:
        adapters.put_many(tx, [FULL, BARE])
        adapters.put_many(tx, [])
    with store.read() as reader:
        assert adapters.list_all(reader) == [BARE, FULL]
        assert adapters.find(reader, "edge") == [BARE, FULL]
        assert adapters.find(reader, "other") == []


def test_many_adapters_replace_what_had_their_key(store: Store) -> None:
    many = [replace(FULL, adapter_key=f"edge-{n:04d}", serial=n) for n in range(1000)]
    with store.write() as tx:
        adapters.put_many(tx, many)
    changed = [replace(BARE, adapter_key=row.adapter_key, tenant_id=row.tenant_id) for row in many[:10]]
    with store.write() as tx:
        adapters.put_many(tx, changed)
        adapters.remove(tx, "edge-0999", FULL.tenant_id)
    with store.read() as reader:
        assert adapters.list_all(reader) == changed + many[10:-1]


def test_a_cursor_begins_at_nothing_and_stays_where_it_was_put(store: Store) -> None:
    with store.write() as tx:
        assert cursors.get(tx, "adapter-sync") == 0
        cursors.put(tx, "adapter-sync", 7)
        cursors.put(tx, "adapter-sync", 8)
        cursors.put(tx, "notify", 3)
    with store.read() as reader:
        assert (cursors.get(reader, "adapter-sync"), cursors.get(reader, "notify")) == (8, 3)

"""Schemas move forward only, by the same safe commit."""

from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import InvalidError, UpmError
from upm_cli.exit_codes import ExitCode, for_error
from upm_cli.store import layout, schema, trainers
from upm_cli.store.schema import Migration
from upm_cli.store.session import Store

NEWEST = schema.newest_version()
SECOND = Migration(version=NEWEST + 1, name="colours", sql="CREATE TABLE colours (name VARCHAR PRIMARY KEY);")
BROKEN = Migration(
    version=NEWEST + 1, name="broken", sql="CREATE TABLE shapes (name VARCHAR); SELECT * FROM not_there;"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", SystemClock())
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", trained=7))
    return store


def know(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    known = (*schema.migrations(), *more)
    monkeypatch.setattr(schema, "migrations", lambda: known)


def tables(store: Store) -> set[str]:
    with store.read() as r:
        return {row["table_name"] for row in r.query("schema.tables")}


def test_a_new_state_has_the_expected_tables(store: Store) -> None:
    assert tables(store) == schema.expected_tables()
    with store.read() as r:
        assert [row["version"] for row in r.query("schema.applied")] == list(range(1, NEWEST + 1))
        assert schema.pending_migrations(r.meta.schema_version) == []


def test_a_state_of_a_newer_upm_is_refused_and_left_alone(store: Store) -> None:
    with store.write() as tx:
        tx.execute("meta.set_schema", version=99)
    before = (store.home / layout.STATE).read_bytes()
    for opening in (store.read, store.write):
        with (
            pytest.raises(InvalidError, match=rf"newer upm \(schema 99, this one knows {NEWEST}\)") as refused,
            opening(),
        ):
            pass
        assert refused.value.code == "UPM-E031"
        assert for_error(refused.value) is ExitCode.INVALID
    Store.create(store.home, SystemClock())
    assert (store.home / layout.STATE).read_bytes() == before


def test_an_older_state_is_refused_until_it_is_brought_up_to_date(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, SECOND)
    for opening in (store.read, store.write):
        with (
            pytest.raises(InvalidError, match=f"has schema {NEWEST}, this upm needs {NEWEST + 1}") as refused,
            opening(),
        ):
            pass
        assert refused.value.code == "UPM-E032"
    newer = Store.create(store.home, SystemClock())
    assert tables(newer) == schema.expected_tables() >= {"colours", "trainers"}
    with newer.read() as r:
        assert trainers.get(r, "main").trained == 7
        assert [row["name"] for row in r.query("schema.applied")] == [each.name for each in schema.migrations()]
        assert schema.migrations()[-1] is SECOND
    token = newer.token()
    Store.create(store.home, SystemClock())
    assert newer.token() == token


def test_a_migration_that_fails_leaves_the_old_schema(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        know(patch, BROKEN)
        with pytest.raises(UpmError):
            Store.create(store.home, SystemClock())
    assert "shapes" not in tables(store)
    with store.read() as r:
        assert (r.meta.schema_version, trainers.get(r, "main").trained) == (NEWEST, 7)


def test_migrations_are_numbered_without_holes() -> None:
    versions = [migration.version for migration in schema.migrations()]
    assert versions == list(range(1, len(versions) + 1))
    assert schema.newest_version() == versions[-1]

"""The schema of the state: numbered, forward-only migrations, and what a state says about itself."""

import functools
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.errors import InvalidError, UpmError
from upm_cli.store import queries, rows
from upm_cli.store.ledger import Head

if TYPE_CHECKING:
    import duckdb

_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_TABLE: Final = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    version: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What a state says about itself."""

    generation: int
    schema_version: int
    ledger: Head
    outbox_position: int


@functools.cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations this version knows, in order, numbered from 1 without holes."""
    folder = resources.files("upm_cli.store") / "sql" / "migrations"
    found = []
    for file in folder.iterdir():
        if match := _FILE.fullmatch(file.name):
            found.append(Migration(version=int(match[1]), name=match[2], sql=file.read_text()))
    found.sort(key=lambda migration: migration.version)
    if not found or [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise UpmError("the migrations of this installation are not complete", hint="install upm again")
    return tuple(found)


def newest_version() -> int:
    """Return the schema version this code reads and writes."""
    return migrations()[-1].version


def pending_migrations(version: int) -> list[Migration]:
    """Return what a state of schema `version` still needs."""
    return [migration for migration in migrations() if migration.version > version]


def expected_tables() -> frozenset[str]:
    """Return the tables that an up-to-date state has."""
    made = (name for migration in migrations() for name in _TABLE.findall(migration.sql))
    return frozenset({"migrations", *made})


def read_meta(cursor: "duckdb.DuckDBPyConnection") -> Meta:
    """Read what the state in `cursor` says about itself. Raises duckdb.Error."""
    row = cursor.execute(queries.statement("meta.get")).fetchone()
    if row is None:
        raise UpmError("the state has no meta row")
    generation, schema_version, count, last, offset, outbox_position = row
    head = Head(count, last, offset)
    return Meta(generation=generation, schema_version=schema_version, ledger=head, outbox_position=outbox_position)


def check(meta: Meta, state: Path) -> None:
    """Refuse a state whose schema is not the one this code was written for. Raises InvalidError."""
    newest = newest_version()
    context = {"schema_version": meta.schema_version, "supported": newest}
    if meta.schema_version > newest:
        raise InvalidError(
            f"{state} was written by a newer upm (schema {meta.schema_version}, this one knows {newest})",
            hint="upgrade upm; nothing was changed",
            code="UPM-E031",
            context=context,
        )
    if meta.schema_version < newest:
        raise InvalidError(
            f"{state} has schema {meta.schema_version}, this upm needs {newest}",
            hint="stop the workers and run upm init: it brings the state up to date",
            code="UPM-E032",
            context=context,
        )


def migrate(cursor: "duckdb.DuckDBPyConnection", version: int, now_ms: int) -> list[Migration]:
    """Apply what is pending after `version`, inside the transaction of `cursor`. Raises duckdb.Error."""
    todo = pending_migrations(version)
    for migration in todo:
        cursor.execute(migration.sql)
        record = {"version": migration.version, "name": migration.name, "applied_at": rows.instant(now_ms)}
        cursor.execute(queries.statement("schema.record"), record)
        cursor.execute(queries.statement("meta.set_schema"), {"version": migration.version})
    return todo

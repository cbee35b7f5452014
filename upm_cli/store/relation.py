"""Read-only SQL over everything that is kept: the state tables, and views of the log, names and comparisons.

What agents served is a view of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.feedback.served import Served
from upm_cli.core.window import Influence, Strings, WindowBatch
from upm_cli.errors import IntegrityError, UsageError
from upm_cli.store import engine, history, layout, log, queries, schema
from upm_cli.store.session import Store

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT: Final = "1GB"


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query: column names, and one tuple of Python values for each row."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(store: Store, text: str) -> Rows:
    """Run the SQL `text` on one consistent state. It can't change anything, nor see any other file.

    Raises UsageError when the SQL is wrong, or as `Store.read` does.
    """
    import duckdb

    store.token()
    connection = engine.connect(None, memory_limit=MEMORY_LIMIT)
    try:
        _attach(connection, store.home)
        _make_views(connection, store.home)
        engine.lock_down(connection)
        result: Any = connection.execute(text)
        if result is None:
            raise UsageError("there is no query in that", hint="upm sql 'SHOW TABLES'")
        columns = [column[0] for column in result.description or ()]
        return Rows(columns, result.fetchall() if columns else [])
    except duckdb.Error as exc:
        hint = "tables and columns: upm sql 'SHOW TABLES', upm sql 'DESCRIBE log'"
        raise UsageError(f"the query can't be run: {exc}", hint=hint) from exc
    finally:
        connection.close()


def _attach(connection: "duckdb.DuckDBPyConnection", home: Path) -> None:
    import duckdb

    state = home / layout.STATE
    try:
        connection.execute(queries.statement("relation.attach"), {"path": str(state)})
        connection.execute(queries.statement("relation.use"))
        schema.check(schema.read_meta(connection), state)
    except duckdb.Error as exc:
        error = engine.explain(exc, state, "open the state")
        raise history.damaged(home, error.message) if isinstance(error, IntegrityError) else error from exc


def _make_views(connection: "duckdb.DuckDBPyConnection", home: Path) -> None:
    """Make each kind of Arrow segment a view; its files are read when a query needs them, column by column."""
    windows = replace(WindowBatch.empty(), influence=Influence.none(0))
    for view, kind, base, empty in (
        ("log", "log", layout.LOG, log.window_table(windows, 0)),
        ("names", "names", layout.LOG, log.names_table(Strings.empty(0), np.zeros(0, np.uint32))),
        ("comparisons", "comparisons", layout.COMPARISONS, log.comparisons_table(Comparisons.empty())),
        ("served", "comparisons", layout.COMPARISONS, log.served_table(Served.empty())),
    ):
        wanted = {"kind": kind, "is_served": view == "served"}
        paths = connection.execute(queries.statement("relation.paths"), wanted).fetchall()
        files = [str(home / path) for (path,) in paths]
        try:
            connection.register(f"{view}_files", _dataset(files, home / base, empty))
        except OSError as exc:
            hint = "upm doctor lists everything that is missing or damaged"
            raise IntegrityError(f"a file of {view} is missing: {exc}", hint=hint, code="UPM-E093") from exc
        connection.execute(queries.statement(f"relation.{view}_view"))
    connection.execute(queries.statement("relation.shadow_delta_view"))


def _dataset(files: Sequence[str], base: Path, empty: pa.Table) -> Any:
    """Return `files` as one Arrow dataset, with the folder below `base` they lie in as the column `owner`."""
    import pyarrow.dataset as ds

    owner = pa.field("owner", pa.utf8())
    if not files:
        return empty.append_column(owner, pa.array([], pa.utf8()))
    folders = ds.partitioning(pa.schema([owner, pa.field("folder", pa.utf8())]))
    schema_with_owner = empty.schema.append(owner)
    return ds.dataset(files, schema=schema_with_owner, format="ipc", partitioning=folders, partition_base_dir=str(base))

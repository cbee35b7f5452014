"""SQL sees everything and changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.records import Trainer
from upm_cli.core.window import Strings, WindowBatch
from upm_cli.errors import IntegrityError, UsageError
from upm_cli.store import layout, log, relation, segments, trainers
from upm_cli.store.session import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / ".upm", SystemClock())


def fill(store: Store) -> None:
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="mail", trained=7))
        for first, tenant in ((0, "acme"), (3, "globex")):
            batch = WindowBatch.empty(3)
            batch.tenant = Strings.of([tenant, tenant, ""])
            batch.label_value = np.array([1.0, 3.0, np.nan])
            segments.add(tx, log.write(store.home, "mail", batch, first, 0))
        segments.add(tx, log.write(store.home, "2026", WindowBatch.empty(1), 0, 0))
        names = log.write_names(store.home, "mail", Strings.of(["amount"]), np.array([7], np.uint32), 0, 0)
        segments.add(tx, names)
        table = Comparisons.empty()
        table = Comparisons(*[np.zeros(2, getattr(table, n).dtype) if n not in ("window_id", "tenant") else Strings.of(["a", "b"]) for n in Comparisons.__slots__])  # fmt: skip  # noqa: E501
        segments.add(tx, log.write_comparisons(store.home, "main", table, 0))


def test_the_log_of_all_streams_is_one_view(store: Store) -> None:
    fill(store)
    found = relation.query(
        store,
        "SELECT stream, tenant_id, count(*) AS n, avg(label_value) AS mean FROM log GROUP BY ALL ORDER BY ALL",
    )
    assert found.columns == ["stream", "tenant_id", "n", "mean"]
    assert found.rows == [
        ("2026", None, 1, None),
        ("mail", "acme", 2, 2.0),
        ("mail", "globex", 2, 2.0),
        ("mail", None, 2, None),
    ]


def test_names_comparisons_and_state_tables_are_there(store: Store) -> None:
    fill(store)
    assert relation.query(store, "FROM names").rows == [("mail", 7, "amount")]
    assert relation.query(store, "SELECT trainer, count(*) FROM comparisons GROUP BY ALL").rows == [("main", 2)]
    assert relation.query(store, "SELECT name, trained FROM trainers").rows == [("main", 7)]


def test_an_empty_store_has_empty_views(store: Store) -> None:
    for view in ("log", "names", "comparisons"):
        assert relation.query(store, f"SELECT count(*) FROM {view}").rows == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM trainers",
        "CREATE TABLE state.mine (x INT)",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "COPY trainers TO 'out.csv'",
        "ATTACH 'other.duckdb' AS other",
        "SET threads = 4",
        "INSTALL httpfs",
        "SELEC 1",
    ],
)
def test_what_would_change_or_see_anything_else_is_refused(
    store: Store, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = (store.home / layout.STATE).read_bytes(), sorted(tmp_path.iterdir())
    with pytest.raises(UsageError) as refused:
        relation.query(store, text)
    assert refused.value.code == "UPM-E020"
    assert ((store.home / layout.STATE).read_bytes(), sorted(tmp_path.iterdir())) == before


def test_a_python_variable_is_no_table(store: Store) -> None:
    secret = {"password": [1]}
    with pytest.raises(UsageError, match="secret"):
        relation.query(store, "SELECT * FROM secret")
    assert secret


def test_a_missing_log_file_is_named(store: Store) -> None:
    fill(store)
    (store.home / "log/mail/3-5.arrow").unlink()
    with pytest.raises(IntegrityError, match=r"3-5\.arrow"):
        relation.query(store, "SELECT count(*) FROM log")

"""What a backup says of itself, what may be in it, and which ones are kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core import backup
from upm_cli.core.backup import About, TrainerAt

ABOUT = About(
    project="shop",
    born_at="2026-01-05T08:00:00.123Z",
    created_at="2026-11-29T02:30:00.456Z",
    upm="0.1.0",
    schema=7,
    generation=4711,
    ledger_entries=12,
    has_keys=False,
    files=17,
    size_bytes=1_714_625,
    trainers=(TrainerAt(name="main", trained=2000, log_position=2001, version=4, weights_sha256="a" * 64),),
)


def test_what_a_backup_says_of_itself_comes_back() -> None:
    assert backup.decode(backup.encode(ABOUT)) == ABOUT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        backup.encode(ABOUT).replace(b'"format":1', b'"format":2'),
        backup.encode(ABOUT).replace(b'"files":17', b'"files":-1'),
        backup.encode(ABOUT).replace(b'"files":17', b'"files":true'),
        backup.encode(ABOUT).replace(b'"files":17', b'"files":99999999999'),
        backup.encode(ABOUT).replace(b'"size_bytes":1714625', b'"size_bytes":1e99'),
        backup.encode(ABOUT).replace(b'"trained":2000', b'"trained":"many"'),
        backup.encode(ABOUT).replace(b'"project"', b'"projects"'),
        backup.encode(ABOUT).replace(b'"2026-11-29T', b'"2026-99-29T'),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        backup.decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    try:
        backup.decode(data)
    except ValueError:
        return


def test_names_tell_project_time_and_generation() -> None:
    assert backup.file_name(ABOUT) == "shop-20261129T023000Z-g4711.upmbackup"


@pytest.mark.parametrize(
    ("project", "safe"), [("shop", "shop"), ("my shop/é", "my_shop"), ("..", "project"), ("-rf", "rf"), ("", "project")]
)
def test_a_project_of_any_name_gives_a_plain_file_name(project: str, safe: str) -> None:
    assert backup.safe_name(project) == safe


@pytest.mark.parametrize(
    "name",
    [
        "upm.yaml",
        ".upm/state.duckdb",
        ".upm/ledger.jsonl",
        ".upm/keys/keys.json",
        ".upm/keys/1ad7fd79964cae17.pem",
        ".upm/log/main/0-5235.arrow",
        ".upm/log/main/names/0-3.0123456789ab.arrow",
        ".upm/log/main/dead/0-3.jsonl",
        ".upm/comparisons/main:served/0-3.arrow",
        f".upm/blobs/sha256/ab/ab{'0' * 62}.zst",
    ],
)
def test_what_upm_writes_may_be_in_a_backup(name: str) -> None:
    assert backup.may_hold(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../upm.yaml",
        ".upm/../../x",
        ".upm/log/main/../../../x",
        ".upm/log/main/..",
        ".upm/log//x",
        ".upm/log/main/.hidden",
        ".upm/log/x",
        ".upm/run/main.lease",
        ".upm/state.lock",
        ".upm/keys/other.pem",
        ".upm/keys/../../id.pem",
        f".upm/blobs/sha256/ab/cd{'0' * 62}.zst",
        ".upm/log/main/a\nb",
        ".upm/log/main/a b",
        ".upm/log/main/0-1.arrow\n",
        ".bashrc",
    ],
)
def test_nothing_else_may(name: str) -> None:
    assert not backup.may_hold(name)


def test_the_newest_stay_and_only_those_of_one_project_go() -> None:
    days = [replace(ABOUT, created_at=f"2026-11-{day:02}T02:30:00.000Z") for day in range(1, 6)]
    other = [replace(each, born_at="2026-02-02T00:00:00.000Z") for each in days]
    found = [*((each, f"other {each.created_at}") for each in other), *((each, each.created_at) for each in days)]
    assert backup.beyond(found, ABOUT, 3) == ["2026-11-02T02:30:00.000Z", "2026-11-01T02:30:00.000Z"]
    assert backup.beyond(found, ABOUT, 99) == []


def test_at_least_one_is_kept() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        backup.beyond([], ABOUT, 0)

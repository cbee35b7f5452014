"""A disk that refuses: the old state stays, nothing is left over, and the next commit works."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import StorageError
from upm_cli.store import fsio, layout, ledger, trainers
from upm_cli.store.session import Store

CODES = {errno.ENOSPC: "UPM-E010", errno.EROFS: "UPM-E011", errno.EACCES: "UPM-E012", errno.EIO: "UPM-E013"}


class Failing:
    """Lets `after` operations pass and refuses the next one."""

    def __init__(self, after: int, code: int) -> None:
        self.left, self.code, self.refused = after, code, ""

    def __call__(self, operation: str, path: Path) -> None:
        self.left -= 1
        if self.left == -1:
            self.refused = f"{operation} {path.name}"
            raise OSError(self.code, os.strerror(self.code), str(path))


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    yield
    fsio.faults.before = None
    fsio.faults.write = os.write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", SystemClock())
    commit(store, 1)
    return store


def commit(store: Store, n: int) -> None:
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", trained=n))
        tx.ledger("count", "main", n=n)


def state_and_ledger(store: Store) -> tuple[int, list[int]]:
    with store.read() as r:
        ledger.verify(store.home, r.meta.ledger)
        entries = ledger.read(store.home, r.meta.ledger)
        return trainers.get(r, "main").trained, [entry["details"]["n"] for entry in entries]


def leave_an_uncommitted_entry(store: Store) -> None:
    """Let a commit fail between the ledger and the state."""

    def fail_at_the_swap(operation: str, path: Path) -> None:
        if operation == "rename":
            raise OSError(errno.EIO, "", str(path))

    fsio.faults.before = fail_at_the_swap
    with pytest.raises(StorageError):
        commit(store, 999)
    fsio.faults.before = None


@pytest.mark.parametrize("after", ["a good commit", "a failed commit"])
@pytest.mark.parametrize("code", CODES)
def test_a_refusal_at_any_step_of_a_commit_leaves_the_old_state_or_all_of_the_new(
    store: Store, code: int, after: str
) -> None:
    refused, whole, n = set(), set(), 1
    for step in range(100):
        if after == "a failed commit":
            leave_an_uncommitted_entry(store)
        failing = Failing(step, code)
        fsio.faults.before = failing
        try:
            commit(store, n + 1)
        except StorageError as error:
            assert error.code == CODES[code]
            assert error.context["errno"] == code
            assert error.hint
        fsio.faults.before = None
        assert not (store.home / layout.NEXT).exists()
        trained, entries = state_and_ledger(store)
        assert entries == list(range(1, trained + 1))
        assert trained in (n, n + 1)
        if not failing.refused:
            break
        (whole if trained == n + 1 else refused).add(failing.refused.rstrip("0123456789."))
        n = trained + 1
        commit(store, n)
    else:
        pytest.fail("the commit never came to an end")
    # Only what comes after the swap finds the new state: making its name durable, and keeping a copy of it as history;
    # and no commit fails as the one before it can't be kept under a second name.
    assert {step.split(" ")[0] for step in whole} == {"fsync-folder", "link", "open", "write", "rename"}
    assert {Path(step.split(" ")[1]).suffix for step in whole} == {"", ".duckdb"}  # the folder, and kept states
    steps = {
        "open state.lock", "write state.lock", "open state.duckdb.next", "write state.duckdb.next",
        "open ledger.jsonl", "write ledger.jsonl", "fsync ledger.jsonl", "fsync state.duckdb.next",
        "rename state.duckdb",
    }  # fmt: skip
    assert refused == steps | ({"truncate ledger.jsonl"} if after == "a failed commit" else set())


def test_a_full_disk_names_the_path_and_what_is_needed(tmp_path: Path) -> None:
    fsio.faults.before = Failing(0, errno.ENOSPC)
    with pytest.raises(StorageError) as full:
        fsio.durable_write(tmp_path / "a.bin", bytes(12_345))
    assert full.value.message == f"can't write {tmp_path / 'a.bin'}: the disk is full (12,345 bytes needed)"
    assert full.value.hint == f"free space on the disk of {tmp_path}, then try again"
    assert full.value.context["need_bytes"] == 12_345


def test_a_state_that_outgrows_the_disk_inside_the_database_is_told_as_a_full_disk(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import StorageError
from upm_cli.store import history, trainers
from upm_cli.store.session import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.create(Path(sys.argv[1]), SystemClock())
size = (store.home / "state.duckdb").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30_000, resource.RLIM_INFINITY))
before = (store.home / "state.duckdb").read_bytes()
try:
    with store.write() as tx:
        for n in range(40):
            text = "".join(map(str, range(n, n + 3000)))
            trainers.put(tx, Trainer(name=f"t{n}", stream="main", metadata={"text": text}))
except StorageError as error:
    print(error.code)
assert (store.home / "state.duckdb").read_bytes() == before
assert not (store.home / "state.duckdb.next").exists()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with store.write() as tx:
    trainers.put(tx, Trainer(name="main", stream="main"))
with store.read() as r:
    print([trainer.name for trainer in trainers.list_all(r)])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script, str(tmp_path / ".upm")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("UPM-E010\n['main']\n", "")


def test_short_writes_are_carried_on_until_all_is_written(tmp_path: Path) -> None:
    fsio.faults.write = lambda fd, data: os.write(fd, data[:3])
    for write in (fsio.durable_write, fsio.replace_file, fsio.durable_create, fsio.append):
        path = tmp_path / write.__name__
        write(path, b"0123456789")
        assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("write", [fsio.durable_write, fsio.replace_file], ids=lambda write: write.__name__)
def test_a_refused_write_leaves_the_old_file_and_no_other(tmp_path: Path, write: object) -> None:
    path = tmp_path / "file"
    fsio.durable_write(path, b"old")
    for step in range(10):
        failing = Failing(step, errno.EIO)
        fsio.faults.before = failing
        try:
            write(path, b"new")  # type: ignore[operator]
        except StorageError:
            assert failing.refused.startswith("fsync-folder") or path.read_bytes() == b"old"
        fsio.faults.before = None
        assert [file.name for file in tmp_path.iterdir()] == ["file"]
        if not failing.refused:
            break
    assert path.read_bytes() == b"new"


def test_creating_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert fsio.durable_create(path, b"first") is True
    assert fsio.durable_create(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_refused_append_takes_back_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert fsio.append(path, b"one\n") == 4
    fsio.faults.before = Failing(2, errno.EIO)  # open, write, fsync
    with pytest.raises(StorageError):
        fsio.append(path, b"two\n")
    fsio.faults.before = None
    assert path.read_bytes() == b"one\n"
    assert fsio.append(path, b"three\n") == 10


def test_unlinking_says_whether_there_was_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [fsio.durable_unlink(tmp_path / "file"), fsio.durable_unlink(tmp_path / "file")] == [True, False]


def test_a_symlink_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"keep")
    (tmp_path / "file").symlink_to(target)
    fsio.durable_write(tmp_path / "file", b"new")
    assert (target.read_bytes(), (tmp_path / "file").is_symlink()) == (b"keep", False)


def test_a_process_that_may_open_no_more_files_says_so_and_goes_on_when_it_may(tmp_path: Path) -> None:
    script = """
import os, resource, sys
from pathlib import Path
from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.errors import UpmError
from upm_cli.store import trainers
from upm_cli.store.session import Store
store = Store.create(Path(sys.argv[1]), SystemClock())
def commit(n):
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", trained=n))
        tx.ledger("count", "main", n=n)
commit(1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
used = max(int(name) for name in os.listdir("/proc/self/fd"))
refused, at = [], 1
for more in range(1, 12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, hard))
    try:
        commit(at + 1)
        at += 1
    except UpmError as error:
        refused.append(error.code)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with store.read() as reader:
        assert trainers.get(reader, "main").trained == at
assert refused and at > 1, (refused, at)
assert not (store.home / "state.duckdb.next").exists()
print(sorted(set(refused)))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script, str(tmp_path / ".upm")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("['UPM-E013']\n", "")

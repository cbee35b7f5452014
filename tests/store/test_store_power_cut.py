"""A power cut at any moment of a commit: what was never synced is lost or torn, names in a folder come or don't."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.store import fsio, layout, ledger, trainers
from upm_cli.store.session import Store

CLOCK = SystemClock()


class Disk:
    """What of a folder's files would still be there after a power cut, by what was synced."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.synced = {path.stat().st_ino: path.read_bytes() for path in self.files()}  # content by inode
        self.names = {path: path.stat().st_ino for path in self.files()}  # that are durable
        self.last: tuple[str, Path] | None = None
        self.cuts: list[tuple[str, dict[Path, bytes], dict[Path, bytes]]] = []  # step; surely there, maybe there

    def files(self) -> list[Path]:
        return [path for path in self.home.rglob("*") if path.is_file() and path.name != layout.LOCK]

    def __call__(self, operation: str, path: Path) -> None:
        """See what the operation before this one made durable, and note what a power cut would leave now."""
        self._settle()
        current = {each: each.stat().st_ino for each in self.files()}
        old = {each: self.synced.get(inode, b"") for each, inode in self.names.items()}
        new = {each: each.read_bytes() for each in current}
        self.cuts.append((f"{operation} {path.name}", old, new))
        self.last = operation, path

    def _settle(self) -> None:
        operation, path = self.last or ("", self.home)
        if operation == "fsync" and path.exists():
            self.synced[path.stat().st_ino] = path.read_bytes()
        elif operation == "fsync-folder":
            self.names = {each: inode for each, inode in self.names.items() if each.parent != path}
            self.names |= {each: each.stat().st_ino for each in self.files() if each.parent == path}


def after_a_cut(
    home: Path, target: Path, old: dict[Path, bytes], new: dict[Path, bytes], synced: set[bytes], chance: random.Random
) -> None:
    """Make `target` a disk on which of everything not synced a part has arrived, drawn by `chance`."""
    for path in {*old, *new}:
        names = [each[path] for each in (old, new) if path in each and chance.random() < 0.6]
        data = names[-1] if names else old.get(path)  # a durable name never points to nothing
        if data is None:
            continue
        if data not in synced:
            least = len(old.get(path, b"")) if data.startswith(old.get(path, b"")) else 0  # appended to what was synced
            data = data[: chance.choice([least, len(data), chance.randint(least, len(data))])]
        there = target / path.relative_to(home)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".upm", CLOCK)
    for n in (1, 2):
        commit(store, n)
    yield store
    fsio.faults.before = None


def commit(store: Store, n: int) -> None:
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", trained=n))
        tx.ledger("count", "main", n=n)


def found(home: Path) -> int:
    """Return how many commits the state has; the ledger must go with it."""
    with Store(home, CLOCK).read() as reader:
        ledger.verify(home, reader.meta.ledger)
        assert [e["details"]["n"] for e in ledger.read(home, reader.meta.ledger)] == list(
            range(1, reader.meta.ledger.count + 1)
        )
        return trainers.get(reader, "main").trained


def test_a_power_cut_at_any_moment_of_a_commit_leaves_the_old_state_or_the_new(store: Store, tmp_path: Path) -> None:
    disk = Disk(store.home)
    fsio.faults.before = disk
    commit(store, 3)
    disk("done", store.home)
    fsio.faults.before = None
    store.close()
    chance = random.Random(20_261_129)
    seen: dict[str, set[int]] = {}
    for step, old, new in disk.cuts:
        for draw in range(4):
            target = tmp_path / "cut" / ".upm"
            after_a_cut(store.home, target, old, new, set(disk.synced.values()), chance)
            seen.setdefault(step, set()).add(found(target))
            if draw == 0 and step.startswith(("rename", "fsync")):  # and it goes on from there
                with Store(target, CLOCK).read() as reader:
                    at = trainers.get(reader, "main").trained
                commit(Store(target, CLOCK), at + 1)
                assert found(target) == at + 1
            shutil.rmtree(target.parent)
    assert set().union(*seen.values()) == {2, 3}
    assert seen[f"done {store.home.name}"] == {3}, "a commit that was acknowledged is lost"

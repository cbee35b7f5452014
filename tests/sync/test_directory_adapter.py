"""Directories: what lies there after a delivery, after a failure at any step, and what is refused."""

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import World, directory_row

from upm_cli.adapters import together
from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.adapters.directory import Directory
from upm_cli.adapters.sums import Sums
from upm_cli.adapters.tidy import GRACE_MS
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.core.delivery import envelope, pointer
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.records import AdapterStatus
from upm_cli.ids import iso
from upm_cli.store import fsio, transfer
from upm_cli.store.surroundings import mount_of, mount_points

NOW = 1_800_000_000_000
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs to give files away")


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    yield
    fsio.faults.before = None


class Site:
    """One model directory, and deliveries to it made by hand."""

    def __init__(self, folder: Path, name: str = "models") -> None:
        self.folder = folder
        self.location = (folder / name).resolve()
        self.location.mkdir(exist_ok=True, mode=0o750)
        self.location.chmod(0o750)
        self.clock = SystemClock()
        self.directory = Directory(self.location, self.clock, Sums(self.clock))

    def delivery(self, version: int = 1, serial: int | None = None, tenant: str = "", **more: Any) -> Delivery:
        data = b"model %d " % version * 1000
        source = self.folder / f"source-{version}.bin"
        source.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        wanted = Pointer(
            trainer="main",
            tenant=tenant,
            version=version,
            digest=f"{version:064x}",
            ring="global",
            place=Place(1, version if serial is None else serial),
            kind="activate",
            decision_id="d",
            issued_at_ms=NOW,
            expires_at_ms=None,
            model=ModelFile(codec="none", size_bytes=len(data), raw_bytes=len(data), file_digest=digest),
            **more,
        )
        return Delivery(pointer=wanted, envelope=wanted.envelope().encode(), model=source)

    def deliver(self, *args: Any, within_s: float = 30.0, **more: Any) -> Ack:
        return self.directory.deliver(self.delivery(*args, **more), Deadline.after(self.clock, within_s))

    def refused(self, failure: Failure, *args: Any, **more: Any) -> DeliveryError:
        with pytest.raises(DeliveryError) as caught:
            self.deliver(*args, **more)
        assert caught.value.failure is failure, caught.value.message
        return caught.value

    def report(self, tenant: str = "") -> Ack | None:
        return self.directory.report("main", tenant, Deadline.after(self.clock, 30))

    @property
    def pointer_file(self) -> Path:
        return self.location / "pointers" / "main" / "_.json"

    def model_file(self, version: int = 1) -> Path:
        return self.location / "models" / f"{version:064x}.bin"

    def version(self) -> int | None:
        """Return what an agent that reads the directory now would serve, having proven it."""
        if not self.pointer_file.exists():
            return None
        raw = self.pointer_file.read_bytes()
        found = pointer.decode(envelope.decode(raw, pointer.PAYLOAD_TYPE).payload)
        data = self.model_file(found.version).read_bytes()
        assert hashlib.sha256(data).hexdigest() == found.model.file_digest
        return found.version


@pytest.fixture
def place(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_delivery_brings_pointer_and_model_for_those_who_may_read_the_directory(place: Site) -> None:
    before = os.umask(0o077)
    try:
        ack = place.deliver()
    finally:
        os.umask(before)
    assert (ack.version, ack.place, ack.agent) == (1, Place(1, 1), "")
    assert (place.version(), place.report()) == (1, ack)
    found = {
        str(path.relative_to(place.location)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in place.location.rglob("*")
    }
    assert found == {
        "models": "0o750",
        f"models/{1:064x}.bin": "0o640",
        "pointers": "0o750",
        "pointers/main": "0o750",
        "pointers/main/_.json": "0o640",
    }


def test_twice_is_the_same_as_once_and_writes_nothing(place: Site) -> None:
    place.deliver()
    before = {path: path.stat().st_ino for path in place.location.rglob("*")}
    place.deliver()
    assert {path: path.stat().st_ino for path in place.location.rglob("*")} == before


def test_an_older_pointer_never_goes_over_a_newer_one_unless_it_is_meant_to(place: Site) -> None:
    place.deliver(2)
    error = place.refused(Failure.REFUSED, 1)
    assert "epoch 1, serial 2 already" in error.message
    assert place.version() == 2
    assert place.deliver(1, lowers_from=Place(1, 2)).version == 1
    assert place.version() == 1


def test_the_model_before_stays_and_what_no_pointer_names_goes_after_a_while(place: Site) -> None:
    for version in (1, 2, 3):
        place.deliver(version)
    (place.location / "models" / ".left.abc.tmp").write_bytes(b"x")
    assert len(list((place.location / "models").iterdir())) == 4
    old = (NOW - GRACE_MS) / 1000
    for path in (place.location / "models").iterdir():
        os.utime(path, (old, old))
    late = ManualClock(NOW)
    place.directory = Directory(place.location, late, Sums(late))
    place.clock = late  # type: ignore[assignment]
    place.deliver(4)
    assert sorted(path.name for path in (place.location / "models").iterdir()) == [f"{v:064x}.bin" for v in (3, 4)]
    (place.location / "pointers" / "main" / "broken.json").write_bytes(b"{")
    for path in (place.location / "models").iterdir():
        os.utime(path, (old, old))
    place.deliver(5)
    place.deliver(6)
    assert len(list((place.location / "models").iterdir())) == 4  # a pointer that can't be read may name anything


def test_a_damaged_model_of_ours_is_not_handed_out(place: Site) -> None:
    delivery = place.delivery()
    delivery.model.write_bytes(b"something else")
    with pytest.raises(DeliveryError, match="not what was written"):
        place.directory.deliver(delivery, Deadline.after(place.clock, 30))
    delivery.model.unlink()
    with pytest.raises(DeliveryError, match="is gone"):
        place.directory.deliver(delivery, Deadline.after(place.clock, 30))
    assert place.version() is None
    assert list((place.location / "models").iterdir()) == []


def test_a_model_that_was_damaged_there_is_noticed_and_replaced(place: Site) -> None:
    place.deliver()
    data = bytearray(place.model_file().read_bytes())
    data[100] ^= 1
    place.model_file().write_bytes(data)
    assert place.report() is None
    place.deliver()
    assert (place.version(), place.report() is not None) == (1, True)
    place.model_file().unlink()
    assert place.report() is None


def test_what_lies_there_and_is_no_pointer_is_nothing_and_is_replaced(place: Site) -> None:
    assert place.report() is None
    place.deliver()
    place.pointer_file.write_bytes(b'{"payload": 1}')
    assert place.report() is None
    place.deliver()
    assert place.version() == 1


def test_unchanged_models_are_read_once(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver()
    late = ManualClock(int(place.model_file().stat().st_ctime * 1000) + 1000)
    place.directory = Directory(place.location, late, Sums(late))
    read: list[int] = []
    real = transfer.sha256_of
    monkeypatch.setattr(transfer, "sha256_of", lambda fd, still: read.append(fd) or real(fd, still))
    for _ in range(3):
        place.report()
        place.deliver()
    assert len(read) == 1
    os.utime(place.model_file(), (1, 1))
    place.report()
    assert len(read) == 2


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP, None])
def test_models_are_copied_where_the_kernel_can_not(
    place: Site, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def refuse(*_: Any) -> int:
        if code is None:
            return 0  # some file systems say so of files that have something
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    place.deliver()
    assert place.version() == 1


def link_location(place: Site) -> None:
    place.location.rename(place.folder / "elsewhere")
    place.location.symlink_to(place.folder / "elsewhere")


def link_models(place: Site) -> None:
    (place.folder / "elsewhere").mkdir()
    (place.location / "models").symlink_to(place.folder / "elsewhere")


def link_pointers(place: Site) -> None:
    (place.folder / "elsewhere").mkdir()
    (place.location / "pointers").mkdir()
    (place.location / "pointers" / "main").symlink_to(place.folder / "elsewhere")


def link_model(place: Site) -> None:
    (place.location / "models").mkdir()
    place.model_file().symlink_to(place.folder / "elsewhere")


def model_is_a_fifo(place: Site) -> None:
    (place.location / "models").mkdir()
    os.mkfifo(place.model_file())


def all_may_write(place: Site) -> None:
    place.location.chmod(0o777)


def all_may_write_models(place: Site) -> None:
    (place.location / "models").mkdir()
    (place.location / "models").chmod(0o777)


def somebody_elses(place: Site) -> None:
    os.chown(place.location, 65534, 65534)


@pytest.mark.parametrize(
    "make",
    [
        link_location,
        link_models,
        link_pointers,
        link_model,
        model_is_a_fifo,
        all_may_write,
        all_may_write_models,
        pytest.param(somebody_elses, marks=needs_root),
    ],
    ids=lambda make: make.__name__,
)
def test_places_that_somebody_else_could_change_are_refused_for_good(place: Site, make: Callable[[Site], None]) -> None:
    make(place)
    error = place.refused(Failure.FORBIDDEN)
    assert error.is_final
    assert not (place.folder / "elsewhere").is_file()
    assert not place.pointer_file.is_file()


def test_a_link_in_the_place_of_a_pointer_is_refused_and_not_followed(place: Site) -> None:
    place.deliver()
    precious = place.folder / "precious"
    precious.write_bytes(b"mine")
    place.pointer_file.unlink()
    place.pointer_file.symlink_to(precious)
    place.refused(Failure.FORBIDDEN)
    assert precious.read_bytes() == b"mine"


def test_a_directory_that_is_gone_is_unreachable_and_is_not_made_again(place: Site) -> None:
    place.location.rmdir()
    place.refused(Failure.UNREACHABLE)
    with pytest.raises(DeliveryError, match="is not there"):
        place.report()
    assert not place.location.exists()


def test_one_writer_at_a_time(place: Site) -> None:
    fd = os.open(place.location, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        place.refused(Failure.BUSY, within_s=0.05)
    finally:
        os.close(fd)
    place.deliver()


def test_no_time_left_is_a_timeout(place: Site) -> None:
    place.refused(Failure.TIMEOUT, within_s=-1)
    assert place.version() is None


def test_a_batch_serves_each_directory_and_one_bad_one_alone_fails(tmp_path: Path) -> None:
    places = [Site(tmp_path, f"d{n}") for n in range(5)]
    places[2].location.chmod(0o777)
    places[3].location.rmdir()
    wanted = [(each.directory, each.delivery()) for each in places]
    shared = (places[0].directory, places[0].delivery(tenant="acme"))
    done = together.deliver_together([*wanted, shared], Deadline.after(SystemClock(), 30))
    words = [each.failure if isinstance(each, DeliveryError) else each.version for each in done]
    assert words == [1, 1, Failure.FORBIDDEN, Failure.UNREACHABLE, 1, 1]
    assert places[0].report("acme") is not None
    assert [each.version() for each in places if each.location.exists()] == [1, 1, None, 1]


def test_a_disk_that_refuses_at_any_step_leaves_the_old_or_all_of_the_new(tmp_path: Path) -> None:
    """Every operation of a batch fails once: nobody ever reads half of anything, and the next try succeeds."""
    places = [Site(tmp_path, f"d{n}") for n in range(2)]
    deadline = Deadline.after(SystemClock(), 300)
    together.deliver_together([(each.directory, each.delivery(1)) for each in places], deadline)
    refused, version = 0, 1
    for step in range(200):
        left = step

        def refuse(operation: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

        version += 1
        wanted = [(each.directory, each.delivery(version)) for each in places]
        fsio.faults.before = refuse
        done = together.deliver_together(wanted, deadline)
        fsio.faults.before = None
        assert [each.version() for each in places].count(version) >= sum(isinstance(each, Ack) for each in done)
        assert {each.version() for each in places} <= {version, version - 1}
        if left >= 0:
            break
        refused += 1
        assert any(isinstance(each, DeliveryError) for each in done)
        again = together.deliver_together(wanted, deadline)
        assert all(isinstance(each, Ack) for each in again)
        assert not list(tmp_path.rglob("*.tmp"))
    assert refused > 20
    assert left >= 0


def test_agents_say_what_they_have(place: Site) -> None:
    place.deliver()
    folder = place.location / "acks" / "main" / "_"
    assert place.directory.heard("main", "", Deadline.after(place.clock, 30)) == []
    folder.mkdir(parents=True)
    said = {
        "schema_version": 1,
        "agent": "edge-1",
        "trainer": "main",
        "tenant": None,
        "version": 1,
        "digest": f"{1:064x}",
        "epoch": 1,
        "serial": 1,
        "loaded_at": iso(NOW),
    }
    (folder / "edge-1.json").write_text(json.dumps(said))
    (folder / "other.json").write_text(json.dumps({**said, "trainer": "second"}))
    (folder / "broken.json").write_text("{")
    (folder / "notes.txt").write_text("hello")
    (folder / ".half.json").write_text("{")
    (folder / "linked.json").symlink_to(folder / "edge-1.json")
    (folder / "folder.json").mkdir()
    (heard,) = place.directory.heard("main", "", Deadline.after(place.clock, 30))
    assert (heard.ack.agent, heard.ack.version, heard.ack.loaded_at_ms) == ("edge-1", 1, NOW)
    assert heard.at_ms == pytest.approx(place.clock.now_ms(), abs=60_000)


def test_a_path_belongs_to_the_deepest_mount_above_it() -> None:
    points = ["/srv/models", "/srv", "/"]
    assert mount_of("/srv/models/a", points) == "/srv/models"
    assert mount_of("/srv/models", points) == "/srv/models"
    assert mount_of("/srv/modelsx", points) == "/srv"
    assert mount_of("/var", points) == "/"
    assert mount_of("/var", []) == "/var"
    assert "/" in mount_points()


def test_directories_are_served_by_a_syncer_in_batches(world: World, tmp_path: Path) -> None:
    from upm_cli.adapters.kinds import Kinds

    world.learn(2)
    rows = [directory_row(f"edge-{n:03d}", tmp_path / f"d{n}") for n in range(60)]
    world.add(*rows, directory_row("edge-000", tmp_path / "d0", "acme"))
    for version in (1, 2):
        world.serve(version)
        world.settle(world.syncer(kinds=Kinds(world.clock)))
    assert world.statuses() == {"synced": 61}
    assert {row.acked_version for row in world.rows().values()} == {2}
    (tmp_path / "d7" / "pointers" / "main" / "_.json").unlink()
    syncer = world.syncer(kinds=Kinds(world.clock))
    for _ in range(14):
        syncer.step(0, looks=True)
        world.clock.advance(5)
    syncer.finish(0)
    assert (tmp_path / "d7" / "pointers" / "main" / "_.json").exists()
    assert world.row("edge-007").status is AdapterStatus.SYNCED
    assert replace(world.row("edge-007"), last_error=None).acked_version == 2

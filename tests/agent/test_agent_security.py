"""Whoever can write to the model directory: what they may try, and that the last good model is served all the same."""

import contextlib
import gzip
import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from upm_cli.agent import AgentError, DamagedError, NotTakenError
from upm_cli.agent.unpack import unpacked
from upm_cli.core import snapshot as codec
from upm_cli.core.delivery import places
from upm_cli.core.delivery.pointer import Place
from upm_cli.testing import Publisher, key_of, packed, trust_file

Site = Any
GOOD, THIEF = key_of("good"), key_of("thief")


@pytest.fixture
def guarded(site: Site) -> Any:
    """An agent with trust that serves version 1, and whoever publishes to it."""
    site.trust = trust_file(site.folder / "trust.json", GOOD)
    site.to = site.publisher(seeds=(GOOD,))
    site.publish(site.to)
    site.agent = site.open(trust=site.trust)
    return site


def refuses(site: Any, code: str) -> None:
    """Check that what is there now is refused with `code`, and that version 1 is served as before."""
    assert not site.agent.refresh()
    problem = site.agent.health().last_error
    assert problem.code == code, problem
    assert site.agent.predict({"hour": 9}).version == 1


# Rollback, freeze, fast-forward


def test_every_pointer_that_was_ever_sent_is_refused_when_it_comes_again(guarded: Any) -> None:
    to, agent = guarded.to, guarded.agent
    for number in range(1, 12):
        kind, lowers = ("rollback", to.sent[-1][0].place) if number % 4 == 0 else ("activate", None)
        more = {"place": Place(number - 3, 0), "lowers_from": lowers} if number % 4 == 0 else {}
        guarded.publish(to, number, kind=kind, **more)
        assert agent.refresh(), number
        for pointer, data in to.sent[:-1]:
            with pytest.raises(NotTakenError) as caught:
                agent.take(data)
            assert caught.value.code == "UPM-E132", pointer
        agent.take(to.sent[-1][1])
        assert agent.serving.version == number + 1
    again = guarded.open(trust=guarded.trust)
    for _, data in to.sent[:-1]:
        to.put_envelope(data)
        assert not again.refresh(), "nor after a start"
        with pytest.raises(NotTakenError):
            again.take(data)
    assert guarded.open(trust=guarded.trust).serving.version == 12


def test_an_expired_pointer_is_refused_by_whoever_was_away(guarded: Any) -> None:
    guarded.publish(guarded.to, 1, expires_at_ms=guarded.clock.now_ms() - 1)
    refuses(guarded, "UPM-E132")
    assert "expired" in guarded.agent.health().last_error.message
    with pytest.raises(NotTakenError, match="expired"):
        guarded.open(cache=guarded.folder / "other", trust=guarded.trust)


def test_another_model_at_the_same_place_is_a_fork_and_refused(guarded: Any) -> None:
    guarded.publish(guarded.to, 1, place=Place(1, 1))
    refuses(guarded, "UPM-E132")
    assert "forked" in guarded.agent.health().last_error.message


def test_a_thief_who_sent_an_agent_far_ahead_is_undone_by_taking_his_key_away(guarded: Any) -> None:
    trust_file(guarded.trust, GOOD, THIEF)
    theirs = Publisher(guarded.root, seeds=(THIEF,))
    guarded.publish(theirs, 5, place=Place(2**60, 2**60))
    assert guarded.agent.refresh()
    guarded.publish(guarded.to, 1)
    assert not guarded.agent.refresh(), "nothing honest is high enough now"
    trust_file(guarded.trust, GOOD, revoked=(THIEF,))
    assert guarded.agent.refresh()
    assert (guarded.agent.serving.version, guarded.agent.serving.epoch) == (2, 2)
    guarded.publish(theirs, 5, place=Place(2**61, 2**61))
    guarded.agent.refresh()
    assert guarded.agent.serving.version == 2
    assert guarded.open(trust=guarded.trust, required=False).serving.version == 2


def test_a_pointer_for_another_tenant_or_trainer_is_refused(guarded: Any) -> None:
    for other in (guarded.publisher(tenant="acme", seeds=(GOOD,)), guarded.publisher(trainer="other", seeds=(GOOD,))):
        guarded.publish(other, 1, place=Place(7, 7))
        guarded.to.put_envelope(other.sent[-1][1])
        refuses(guarded, "UPM-E132")


def test_a_model_of_another_trainer_or_version_under_a_right_digest_is_refused(guarded: Any) -> None:
    for named in ({"trainer": "other", "version": 2}, {"trainer": "main", "version": 3}):
        manifest = {**guarded.trained.manifest, **named}
        model = guarded.to.put_model(codec.encode(guarded.trained.variant(1), manifest))
        pointer = guarded.to.pointer(model, manifest)
        guarded.to.put_pointer(replace(pointer, trainer="main", version=2))
        refuses(guarded, "UPM-E134")


def test_a_signature_counts_only_for_what_it_is_over(guarded: Any) -> None:
    guarded.publish(Publisher(guarded.root, seeds=(THIEF,)), 1, place=Place(7, 7))
    refuses(guarded, "UPM-E133")
    guarded.publish(Publisher(guarded.root), 1, place=Place(7, 7))
    refuses(guarded, "UPM-E133")
    stolen = json.loads(guarded.to.sent[0][1])["signatures"]
    forged = {**json.loads(guarded.to.sealed(guarded.prepare(guarded.to, 1))), "signatures": stolen}
    guarded.to.put_envelope(json.dumps(forged).encode())
    refuses(guarded, "UPM-E133")


# Bytes


def test_a_flipped_bit_anywhere_in_the_pointer_is_refused_or_changes_nothing(guarded: Any) -> None:
    good = guarded.to.sealed(guarded.prepare(guarded.to, 1))
    changed = 0
    for at in range(len(good)):
        broken = bytearray(good)
        broken[at] ^= 1 << (at % 8)
        try:
            guarded.agent.take(bytes(broken))
        except AgentError as exc:
            assert exc.code in ("UPM-E133", "UPM-E134")
        else:
            changed += 1
            assert guarded.agent.serving.version == 2, "what was signed was not touched"
    assert changed <= 8, "the bits of base64 and of key ids that say nothing"


@pytest.mark.parametrize("how", ["zstd", "gzip", "none"])
def test_a_flipped_bit_anywhere_in_the_model_is_refused(guarded: Any, how: str) -> None:
    guarded.to.codec = how
    pointer = guarded.prepare(guarded.to, 1)
    path = guarded.root / places.model(pointer.digest, how)
    good = path.read_bytes()
    guarded.to.put_pointer(pointer)
    step = max(1, len(good) // 150)
    for at in [*range(min(64, len(good))), *range(64, len(good), step), len(good) - 1]:
        broken = bytearray(good)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(bytes(broken))
        refuses(guarded, "UPM-E134")
    for wrong in (b"", good[:-1], good + b"\0", good + good, good[: len(good) // 2]):
        path.write_bytes(wrong)
        refuses(guarded, "UPM-E134")
    path.write_bytes(good)
    assert guarded.agent.refresh()


def test_a_model_whose_file_is_right_and_whose_content_is_not_is_refused(guarded: Any) -> None:
    """Without signatures anybody may name any file; then the digest, the format and a first try have to hold."""
    agent = guarded.agent = guarded.open(cache=guarded.folder / "open")
    to, trained = Publisher(guarded.root, serial=10), guarded.trained
    named = {**trained.manifest, "trainer": "main", "version": 2}
    raw = codec.encode(trained.variant(1), named)
    three = {**named["labels"], "task": "structured", "names": ["a", "b"]}
    for wrong in (
        b"",
        raw[:-8],
        raw + bytes(8),
        raw[:100],
        pickle.dumps([1, 2, 3]),
        codec.encode({}, {"schema_version": 1}),
        codec.encode(trained.arrays, {**named, "model": {"kind": "tree"}}),
        codec.encode(trained.arrays, {key: value for key, value in named.items() if key != "labels"}),
        codec.encode(trained.arrays, {**named, "labels": three}),
        codec.encode(trained.arrays, {**named, "labels": []}),
        codec.encode(trained.arrays, {**named, "trainer": 7}),
        codec.encode({"weights": trained.arrays["weights"]}, named),
        raw.replace(b'\\"schema_version\\":1', b'\\"schema_version\\":2'),
    ):
        digest, model = to.put_model(wrong)
        if not wrong:
            model = replace(model, size_bytes=max(1, model.size_bytes), raw_bytes=1)
        to.put_pointer(to.pointer((digest, model), named))
        assert not agent.refresh()
        problem = agent.health().last_error
        assert problem.code == "UPM-E134", wrong[:80]
        assert "calls itself" not in problem.message
        assert agent.serving.version == 1
    digest, model = to.put_model(raw)
    to.put_pointer(to.pointer(("0" * 64, model), named))
    (guarded.root / places.model("0" * 64, "zstd")).write_bytes(packed(raw, "zstd"))
    assert not agent.refresh()
    assert "do not have the digest" in agent.health().last_error.message
    for changed in (
        {"size_bytes": model.size_bytes + 1},
        {"raw_bytes": model.raw_bytes - 1},
        {"raw_bytes": model.raw_bytes + 1},
        {"file_digest": "0" * 64},
        {"codec": "gzip"},
    ):
        to.put_pointer(to.pointer((digest, replace(model, **changed)), named))
        (guarded.root / places.model(digest, "gzip")).write_bytes(packed(raw, "zstd"))
        assert not agent.refresh(), changed
        assert agent.health().last_error.code == "UPM-E134"


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("how", ["zstd", "gzip", "none"])
def test_a_pickle_that_is_named_like_a_model_runs_nothing(site: Site, how: str) -> None:
    canary = site.folder / "canary"
    payload = pickle.dumps(Bomb(canary))
    to = site.publisher(codec=how)
    to.put_pointer(to.pointer(to.put_model(payload), {**site.trained.manifest, "trainer": "main"}))
    with pytest.raises(DamagedError):
        site.open()
    assert not canary.exists()
    pickle.loads(payload)
    assert canary.exists(), "it would have"


# Files that are none


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Move `path` aside; gives where it went."""
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    yield aside
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    aside.rename(path)


@pytest.mark.parametrize("which", ["pointer", "model"])
def test_links_devices_pipes_and_sockets_are_not_read(
    guarded: Any, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = guarded.prepare(guarded.to, 1)
    guarded.to.put_pointer(pointer)
    name = places.pointer("main", "") if which == "pointer" else places.model(pointer.digest, "zstd")
    path = guarded.root / name
    with replaced(path) as aside:
        path.symlink_to(aside)
        refuses(guarded, "UPM-E134")
    with replaced(path):
        path.symlink_to("/etc/passwd")
        refuses(guarded, "UPM-E134")
    with replaced(path):
        os.mkfifo(path)
        refuses(guarded, "UPM-E134")
        assert "is not a regular file" in guarded.agent.health().last_error.message
    with replaced(path), contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        monkeypatch.chdir(path.parent)
        listening.bind(path.name)
        assert not guarded.agent.refresh()
    with replaced(path):
        path.mkdir()
        assert not guarded.agent.refresh()
        path.rmdir()
    if os.geteuid() == 0:
        with replaced(path):
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
            assert not guarded.agent.refresh()
            assert "is not a regular file" in guarded.agent.health().last_error.message
    assert guarded.agent.serving.version == 1
    assert guarded.agent.refresh()


def test_a_folder_on_the_way_that_is_a_link_is_not_followed(guarded: Any) -> None:
    guarded.publish(guarded.to, 1)
    for folder in ("models", "pointers", "pointers/main"):
        path = guarded.root / folder
        aside = guarded.folder / "aside"
        path.rename(aside)
        path.symlink_to(aside, target_is_directory=True)
        refuses(guarded, "UPM-E134")
        path.unlink()
        aside.rename(path)
    assert guarded.agent.refresh()


def test_the_model_directory_itself_may_be_reached_by_a_link(site: Site) -> None:
    site.publish(site.publisher())
    link = site.folder / "link"
    link.symlink_to(site.root)
    assert site.open(location=link).serving.version == 1


def test_a_hard_link_is_refused_for_its_bytes_and_harms_nobody_who_has_loaded_them(
    guarded: Any,
) -> None:
    pointer = guarded.prepare(guarded.to, 1)
    guarded.to.put_pointer(pointer)
    path = guarded.root / places.model(pointer.digest, "zstd")
    with replaced(path):
        secret = guarded.folder / "secret"
        secret.write_bytes(b"x" * pointer.model.size_bytes)
        os.link(secret, path)
        refuses(guarded, "UPM-E134")
        assert secret.read_bytes().decode() not in guarded.agent.health().last_error.message
    other = guarded.folder / "other-name"
    os.link(path, other)
    assert guarded.agent.refresh()
    answer = guarded.agent.predict({"hour": 9}).decoded
    other.write_bytes(b"\0" * pointer.model.size_bytes)
    assert guarded.agent.predict({"hour": 9}).decoded == answer, "what is served is in memory"


def test_acks_are_not_written_through_links(site: Site) -> None:
    site.publish(site.publisher())
    outside = site.folder / "outside"
    outside.mkdir()
    (site.root / "acks").symlink_to(outside)
    assert site.open().serving.version == 1
    assert list(outside.iterdir()) == []


def test_a_pointer_that_is_too_large_is_not_read(guarded: Any) -> None:
    with (guarded.root / places.pointer("main", "")).open("r+b") as file:
        file.truncate(1 << 40)
    refuses(guarded, "UPM-E134")
    assert f"{1 << 40:,} bytes" in guarded.agent.health().last_error.message


def test_a_pointer_that_is_not_strict_json_is_refused(guarded: Any) -> None:
    good = guarded.to.sealed(guarded.prepare(guarded.to, 1))
    plain = json.loads(good)
    for wrong in (
        good.replace(b'"payload":', b'"payload":"","payload":'),
        json.dumps({**plain, "more": 1}).encode(),
        b"[" * 100_000,
        b"\xff\xfe" + good,
        good + good,
        b"null",
    ):
        guarded.to.put_envelope(wrong)
        refuses(guarded, "UPM-E134")


# Bombs


def zstd_bomb(raw_bytes: int) -> bytes:
    """Return a frame of zeros: each block of 4 bytes stands for 128 KiB."""
    header = b"\x28\xb5\x2f\xfd\x00\x58"  # no content size, no checksum, window 2 MiB
    blocks, block = raw_bytes >> 17, ((128 << 10) << 3) | (1 << 1)
    body = (block.to_bytes(3, "little") + b"\0") * (blocks - 1)
    return header + body + (block | 1).to_bytes(3, "little") + b"\0"


def gzip_bomb(raw_bytes: int) -> bytes:
    """Return a member that unpacks to `raw_bytes` zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(raw_bytes >> 20)]
    return b"".join([*parts, packer.flush()])


MEASURE = """
import sys
from pathlib import Path
from upm_cli.agent import Agent

def highest():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

folder, warm = Path(sys.argv[1]), Path(sys.argv[2])
Agent.open(warm, cache=folder / "warm", poll_s=0).predict({"hour": 9})
before = highest()
agent = Agent.open(folder / "models", cache=folder / "state", trainer="main", required=False, poll_s=0)
print(highest() - before, agent.health().last_error.code, agent.health().last_error.message)
"""


@pytest.mark.parametrize("how", ["zstd", "gzip"])
def test_a_bomb_is_refused_with_flat_memory(site: Site, tmp_path: Path, how: str) -> None:
    raw_bytes = 10 << 30 if how == "zstd" else 128 << 20
    bomb = zstd_bomb(raw_bytes) if how == "zstd" else gzip_bomb(raw_bytes)
    if how == "zstd":
        small = zstd_bomb(1 << 20)
        assert zstandard.ZstdDecompressor().decompressobj().decompress(small) == bytes(1 << 20), "it is one"
    else:
        assert len(gzip.decompress(bomb)) == raw_bytes
    site.publish(site.publisher())
    to = Publisher(tmp_path / "bomb/models", codec=how)
    digest, model = to.put_model(b"x")
    path = to.root / places.model(digest, how)
    path.write_bytes(bomb)
    model = replace(model, size_bytes=len(bomb), raw_bytes=16 << 20, file_digest=hashlib.sha256(bomb).hexdigest())
    to.put_pointer(to.pointer((digest, model), {**site.trained.manifest, "trainer": "main"}))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), str(tmp_path / "bomb"), str(site.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    grown_kib, code, *words = done.stdout.split()
    assert code == "UPM-E134"
    assert "more than 16,777,216 bytes" in " ".join(words)
    assert 15 << 10 < int(grown_kib) < 48 << 10, "the 16 MiB that were expected, and little more"


@pytest.mark.parametrize(
    ("how", "stored", "why"),
    [
        ("zstd", packed(b"abc", "zstd") + b"x", "something follows"),
        ("zstd", packed(b"abc", "zstd") + packed(b"", "zstd"), "something follows"),
        ("zstd", packed(b"abc", "zstd")[:-1], "in the middle"),
        ("zstd", packed(b"abc", "zstd")[:5], "in the middle"),
        ("zstd", b"", "in the middle"),
        ("zstd", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + packed(b"abc", "zstd"), "no zstd frame"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\xf8" + b"\x01\0\0", "memory"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x58" + ((1 << 24) - 8 | 1).to_bytes(3, "little"), "a block of"),
        ("gzip", packed(b"abc", "gzip") + b"x", "something follows"),
        ("gzip", packed(b"abc", "gzip") + packed(b"", "gzip"), "something follows"),
        ("gzip", packed(b"abc", "gzip")[:-1], "in the middle"),
        ("gzip", b"", "in the middle"),
        ("gzip", b"no gzip at all", "incorrect header"),
        ("none", b"abcd", "more than 3"),
        ("none", b"ab", "2 bytes instead of 3"),
        ("zstd", packed(b"ab", "zstd"), "2 bytes instead of 3"),
        ("gzip", packed(b"abcd", "gzip"), "more than 3"),
    ],
)
def test_only_exactly_one_frame_of_the_expected_size_is_unpacked(how: str, stored: bytes, why: str) -> None:
    for step in (1 << 20, 1):
        at = 0

        def read(most: int, step: int = step) -> bytes:
            nonlocal at
            piece = stored[at : at + min(most, step)]
            at += len(piece)
            return piece

        with pytest.raises(ValueError, match=why):
            list(unpacked(read, how, 3))


@pytest.mark.parametrize("how", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("size", [1, 1000, 131_072, 3_000_000])
def test_what_was_packed_is_unpacked_in_small_pieces(how: str, size: int) -> None:
    raw = (b"abc" * size)[:size]
    stored = packed(raw, how)
    at = 0

    def read(most: int) -> bytes:
        nonlocal at
        piece = stored[at : at + most]
        at += len(piece)
        return piece

    pieces = list(unpacked(read, how, size))
    assert b"".join(pieces) == raw
    assert max(map(len, pieces)) <= 1 << 20


def test_a_folder_that_may_not_be_read_is_told_as_such(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(site.publisher())
    agent = site.open()
    real = os.open

    def deny(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("pointers"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", deny)
    agent.refresh()
    assert agent.health().last_error.code == "UPM-E135"
    assert "Permission denied" in agent.health().last_error.message

"""The ledger tells what was committed, and shows every change to it."""

import hashlib
import json
from pathlib import Path

import pytest

from upm_cli.clock import SystemClock
from upm_cli.errors import IntegrityError
from upm_cli.store import layout, ledger
from upm_cli.store.ledger import Entry, Head
from upm_cli.store.session import Store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    head = Head()
    for n in range(1, 8):
        entry = Entry(
            at_ms=1_700_000_000_000 + n, actor="ann", action="count", subject="main", details={"n": n, "ü": "…"}
        )
        head = ledger.append(tmp_path, head, [entry])
    return tmp_path


def lines(home: Path) -> list[bytes]:
    return (home / layout.LEDGER).read_bytes().splitlines(keepends=True)


def rewrite(home: Path, new: list[bytes]) -> None:
    (home / layout.LEDGER).write_bytes(b"".join(new))


def test_each_hash_is_that_of_the_entry_and_names_the_one_before(home: Path) -> None:
    previous = ""
    for n, line in enumerate(lines(home), 1):
        entry = json.loads(line)
        claimed = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == claimed
        assert (entry["n"], entry["prev"], entry["actor"]) == (n, previous, "ann")
        previous = claimed
    assert entry["at"] == "2023-11-14T22:13:20.007Z"
    assert ledger.verify(home).head_hash == previous


def test_every_flipped_bit_is_found_in_its_entry(home: Path) -> None:
    good = (home / layout.LEDGER).read_bytes()
    for at in range(0, len(good), 3):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        (home / layout.LEDGER).write_bytes(bytes(bad))
        with pytest.raises(IntegrityError) as broken:
            ledger.verify(home)
        assert broken.value.context["entry"] == good[:at].count(b"\n") + 1
        assert broken.value.code == "UPM-E092"


@pytest.mark.parametrize("n", range(1, 7))
def test_a_removed_entry_is_missed_at_its_place(home: Path, n: int) -> None:
    old = lines(home)
    rewrite(home, old[: n - 1] + old[n:])
    with pytest.raises(IntegrityError, match=f"ledger entry {n} has the number {n + 1}"):
        ledger.verify(home)


def test_swapped_and_repeated_entries_are_found(home: Path) -> None:
    old = lines(home)
    rewrite(home, [old[0], old[2], old[1], *old[3:]])
    with pytest.raises(IntegrityError, match="ledger entry 2 "):
        ledger.verify(home)
    rewrite(home, [*old[:3], old[2], *old[3:]])
    with pytest.raises(IntegrityError, match="ledger entry 4 "):
        ledger.verify(home)


def test_an_entry_that_was_changed_and_hashed_anew_breaks_the_next(home: Path) -> None:
    old = lines(home)
    entry = json.loads(old[2])
    del entry["hash"]
    entry["actor"] = "eve"
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    entry["hash"] = hashlib.sha256(text.encode()).hexdigest()
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    rewrite(home, [*old[:2], text.encode() + b"\n", *old[3:]])
    with pytest.raises(IntegrityError, match="ledger entry 4 does not follow the entry before it"):
        ledger.verify(home)


def test_a_cut_tail_is_found_against_the_head_in_the_state(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".upm", SystemClock())
    for n in range(4):
        with store.write(actor="ann") as tx:
            tx.ledger("count", "main", n=n)
    with store.read() as r:
        head = r.meta.ledger
    rewrite(store.home, lines(store.home)[:2])
    assert ledger.verify(store.home).entries == 2
    with pytest.raises(IntegrityError, match="ledger entry 3 is missing: the state knows 4 entries"):
        ledger.verify(store.home, head)


def test_what_was_never_committed_is_told_apart_and_cut_by_the_next_commit(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".upm", SystemClock())
    with store.write(actor="ann") as tx:
        tx.ledger("count", "main", n=1)
    with store.read() as r:
        head = r.meta.ledger
    ledger.append(store.home, head, [Entry(at_ms=0, actor="ann", action="never", subject="main", details={})])
    assert (ledger.verify(store.home, head).entries, ledger.verify(store.home, head).uncommitted) == (1, 1)
    assert [entry["action"] for entry in ledger.read(store.home, head)] == ["count"]
    with store.write(actor="bob") as tx:
        tx.ledger("count", "main", n=2)
    assert [(entry["actor"], entry["action"]) for entry in ledger.read(store.home)] == [
        ("ann", "count"),
        ("bob", "count"),
    ]
    with store.read() as r:
        assert ledger.verify(store.home, r.meta.ledger).uncommitted == 0


def test_a_half_written_line_of_a_commit_that_never_happened_is_counted(home: Path) -> None:
    head = ledger.end(home)
    with (home / layout.LEDGER).open("ab") as file:
        file.write(b'{"n":8,')
    assert ledger.verify(home, head).uncommitted == 1


def test_the_end_is_after_the_last_good_entry(home: Path) -> None:
    whole = ledger.end(home)
    assert (whole.count, whole.offset) == (7, (home / layout.LEDGER).stat().st_size)
    old = lines(home)
    rewrite(home, [*old[:5], old[5][:20]])
    torn = ledger.end(home)
    assert (torn.count, torn.hash, torn.offset) == (5, json.loads(old[4])["hash"], sum(map(len, old[:5])))


def test_the_actor_is_the_user_the_operating_system_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import pwd

    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    store = Store.create(tmp_path / ".upm", SystemClock())
    with store.write() as tx:
        tx.ledger("look", "main")
    assert ledger.read(store.home)[0]["actor"] == pwd.getpwuid(os.getuid()).pw_name


def test_an_empty_ledger_is_good(tmp_path: Path) -> None:
    assert ledger.read(tmp_path) == []
    assert ledger.verify(tmp_path, Head()).entries == 0


@pytest.mark.parametrize("size", [1, 200, 30_000, 70_000])
def test_the_newest_entries_are_the_end_of_all_of_them_however_long_they_are(tmp_path: Path, size: int) -> None:
    head = Head()
    for n in range(9):
        details = {"text": "ü" * (size // (1 + n % 3))}
        entry = Entry(at_ms=n, actor="ann", action="count", subject="main", details=details)
        head = ledger.append(tmp_path, head, [entry])
    everything = ledger.read(tmp_path, head)
    ledger.append(tmp_path, head, [Entry(at_ms=9, actor="ann", action="never", subject="main", details={})])
    for limit in range(11):
        assert ledger.newest(tmp_path, head, limit) == everything[len(everything) - min(limit, 9) :]


def test_there_is_no_newest_entry_in_an_empty_ledger(tmp_path: Path) -> None:
    assert ledger.newest(tmp_path, Head(), 5) == []
    (tmp_path / layout.LEDGER).write_bytes(b"")
    assert ledger.newest(tmp_path, Head(), 5) == []


def test_a_last_line_that_was_cut_off_is_found_even_if_only_its_end_is_gone(home: Path) -> None:
    whole = (home / layout.LEDGER).read_bytes()
    (home / layout.LEDGER).write_bytes(whole[:-1])
    with pytest.raises(IntegrityError, match="ledger entry 7 does not end"):
        ledger.verify(home)

"""Whatever is done to a ledger, it is found, and in its place."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.clock import ManualClock
from upm_cli.errors import IntegrityError
from upm_cli.ops import audit
from upm_cli.store import layout, ledger
from upm_cli.store.ledger import Entry, Head
from upm_cli.store.session import Store


def write(home: Path, count: int) -> Head:
    """Write a ledger of `count` entries such as there are: text of all kinds, numbers, nesting."""
    return ledger.append(
        home,
        Head(),
        [
            Entry(
                at_ms=1_800_000_000_000 + n,
                actor="ann",
                action="drift.quarantine",
                subject=f"main@{n}",
                details={"p95": 0.1 + n / 3, "reason": f"tab\t, ü…{chr(0x1F600)} \x1b", "inputs": {"rows": [n, None]}},
            )
            for n in range(count)
        ],
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Head, bytes]:
    home = tmp_path_factory.mktemp("small")
    head = write(home, 3)
    return home, head, (home / layout.LEDGER).read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Head, bytes]:
    home = tmp_path_factory.mktemp("large")
    head = write(home, 400)
    return home, head, (home / layout.LEDGER).read_bytes()


def broken_entry(home: Path, head: Head, data: bytes) -> int:
    """Return the entry that `verify` names for a ledger with the content `data`."""
    (home / layout.LEDGER).write_bytes(data)
    with pytest.raises(IntegrityError) as found:
        ledger.verify(home, head)
    assert found.value.code == "UPM-E092"
    return int(found.value.context["entry"])


def test_every_changed_byte_of_a_small_ledger_is_found_in_its_entry(small: tuple[Path, Head, bytes]) -> None:
    home, head, good = small
    for at in range(len(good)):
        for flip in (*(1 << bit for bit in range(8)), 0xFF):
            bad = bytearray(good)
            bad[at] ^= flip
            assert broken_entry(home, head, bytes(bad)) == good[:at].count(b"\n") + 1, (at, flip)


@settings(max_examples=150)
@given(st.data())
def test_any_changed_byte_of_a_large_ledger_is_found_in_its_entry(
    large: tuple[Path, Head, bytes], data: st.DataObject
) -> None:
    home, head, good = large
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    assert broken_entry(home, head, bytes(bad)) == good[:at].count(b"\n") + 1


def test_every_cut_is_found(small: tuple[Path, Head, bytes]) -> None:
    home, head, good = small
    for length in range(len(good)):
        assert broken_entry(home, head, good[:length]) == min(3, good[:length].count(b"\n") + 1)


def damages(lines: list[bytes]) -> Iterator[tuple[str, list[bytes], int]]:
    """Yield every removal, repetition, exchange and insertion of entries, and the first entry that is wrong then."""
    for n in range(len(lines)):
        yield f"without {n}", lines[:n] + lines[n + 1 :], n + 1
        for at in range(len(lines) + 1):
            changed = [*lines[:at], lines[n], *lines[at:]]
            if at < len(lines):
                yield f"{n} again at {at}", changed, at + 1 if at != n else at + 2
        for other in range(n + 1, len(lines)):
            swapped = [*lines]
            swapped[n], swapped[other] = swapped[other], swapped[n]
            yield f"{n} and {other} exchanged", swapped, n + 1


def test_every_removed_repeated_or_exchanged_entry_is_found_at_its_place(tmp_path: Path) -> None:
    head = write(tmp_path, 6)
    lines = (tmp_path / layout.LEDGER).read_bytes().splitlines(keepends=True)
    for what, changed, first in damages(lines):
        # compared with all of what is there: more or fewer bytes than the state knows
        data = b"".join(changed)
        assert broken_entry(tmp_path, Head(head.count, head.hash, len(data)), data) == first, what


def forged(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an entry with other content and the hash that fits it, as somebody would who knows how it is made."""
    body = {key: value for key, value in {**entry, **changes}.items() if key != "hash"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**body, "hash": hashlib.sha256(text.encode()).hexdigest()}


def as_lines(entries: list[dict[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        for entry in entries
    )


def rewritten(entries: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Return the ledger with entry `n` (from 1) forged, and every later one chained to it anew."""
    changed, previous = [], ""
    for entry in entries:
        new = forged(entry, prev=previous, **({"actor": "eve"} if entry["n"] == n else {}))
        changed.append(new)
        previous = new["hash"]
    return changed


@pytest.mark.parametrize("n", [1, 3, 6])
def test_a_forged_entry_is_found_by_the_next_one_and_a_forged_chain_by_the_state(tmp_path: Path, n: int) -> None:
    head = write(tmp_path, 6)
    entries = ledger.read(tmp_path)
    one = [forged(entry, actor="eve") if entry["n"] == n else entry for entry in entries]
    assert broken_entry(tmp_path, head, as_lines(one)) == min(n + 1, 6)
    assert broken_entry(tmp_path, head, as_lines(rewritten(entries, n))) == 6


def put_in_place(store: Store, head: Head) -> None:
    """Make the state believe in `head`, as somebody who may write everything could."""
    with store.write(actor="eve") as tx:
        tx.execute(
            "meta.advance",
            generation=tx.meta.generation + 1,
            ledger_count=head.count,
            ledger_hash=head.hash,
            ledger_offset=head.offset,
            outbox_position=tx.meta.outbox_position,
        )
        tx.finish = lambda home: None  # type: ignore[method-assign]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", ManualClock(1_800_000_000_000))
    for n in range(6):
        with store.write(actor="ann") as tx:
            tx.ledger("count", "main", n=n)
    return store


Forge = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda entries: entries[:4], "ledger entry 5 is missing: the head exported"),
        (lambda entries: entries[:0], "ledger entry 1 is missing: the head exported"),
        (lambda entries: rewritten(entries, 2), "ledger entry 6 is not the one that was exported"),
        (lambda entries: rewritten(entries, 6), "ledger entry 6 is not the one that was exported"),
    ],
)
def test_a_cut_or_rewritten_ledger_with_a_state_to_fit_is_found_by_an_exported_head(
    store: Store, forge: Forge, why: str
) -> None:
    anchor = audit.head(store, ManualClock())
    assert audit.verify(store, anchors=[anchor]).anchors == 1
    entries = forge(audit.read(store))
    (store.home / layout.LEDGER).write_bytes(as_lines(entries))
    put_in_place(store, Head(len(entries), entries[-1]["hash"] if entries else "", len(as_lines(entries))))
    assert audit.verify(store).entries == len(entries)  # from here alone nothing can be seen
    with pytest.raises(IntegrityError, match=why) as found:
        audit.verify(store, anchors=[anchor])
    assert found.value.code == "UPM-E092"


def test_of_several_exported_heads_the_oldest_that_differs_says_where(store: Store) -> None:
    heads = [audit.Anchor(count=n, hash=entry["hash"], at="then") for n, entry in enumerate(audit.read(store), 1)]
    entries = rewritten(audit.read(store), 3)
    (store.home / layout.LEDGER).write_bytes(as_lines(entries))
    put_in_place(store, Head(6, entries[-1]["hash"], len(as_lines(entries))))
    with pytest.raises(IntegrityError, match="ledger entry 3 is not the one") as found:
        audit.verify(store, anchors=heads)
    assert "after entry 2" in found.value.hint


def test_a_ledger_that_grew_still_agrees_with_older_heads(store: Store) -> None:
    anchor = audit.head(store, ManualClock())
    for n in range(random.Random(7).randrange(1, 5)):
        with store.write(actor="bob") as tx:
            tx.ledger("count", "main", n=n)
    assert audit.verify(store, anchors=[anchor, audit.head(store, ManualClock())]).anchors == 2

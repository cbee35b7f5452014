"""The columnar reader against the strict decoder: the same rows, bit for bit, and the same rejects, for any bytes."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.window import WindowBatch
from upm_cli.sources import fastjson
from upm_cli.sources.base import Decoded
from upm_cli.sources.decode import Collected, decode_lines
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.features import name_text
from upm_cli.sources.split import split_lines

STYLES = [(",", ":"), (", ", ": ")]
INSTANTS = [
    *["2026-01-01T00:00:07Z"] * 20,
    "2024-02-29T23:59:59.999Z",
    "2023-02-29T00:00:00Z",
    "2026-12-31T23:59:59+00:00",
    "2026-01-01T00:00:00.123456+00:00",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T02:00:00+02:00",
    "2026-06-15T12:30:45",
    "2026-06-31T12:30:45Z",
    "1999-01-01T24:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T00:60:00Z",
    1767225600000,
    -5,
    1e3,
]
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\r\n", b"\t", b"\0", b"e", b".", b"-", b"+"]
PIECES += [b"0", b"1e5", b"1e400", b"01", b".e", b"null", b"true", b'"a":1,', b'"label":1,', b"\xff", "é".encode()]
PIECES += [b"\x7f", b"\xef\xbb\xbf", b'"b":{"c":2},', b"[1,2]", b"NaN", b"\\u0041", b'\\"', b"3.4028235677973366e38"]


class Producer:
    """Writes windows as one program would, with the same keys in the same order, mostly."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chance = self.random.random
        self.keys = list(dict.fromkeys(self.name() for _ in range(self.random.randrange(6))))
        self.kinds = [self.random.choice([self.number, self.number, self.text]) for _ in self.keys]
        self.label = self.random.choice([self.number, self.text, self.any_label, lambda: self.random.randrange(2)])
        self.envelope, self.tenants, self.open = chance() < 0.2, chance() < 0.5, chance() < 0.5
        self.nested, self.truth, self.odd_times = chance() < 0.15, chance() < 0.1, chance() < 0.2
        self.number_ids, self.number_times, self.extra = chance() < 0.2, chance() < 0.2, chance() < 0.1

    def number(self) -> Any:
        r = self.random
        kind = r.randrange(9)
        if kind < 3:
            return [r.gauss(0, 1), round(r.gauss(0, 3), 6), r.randrange(10)][kind]
        if kind < 6:
            return [r.randrange(-(10**12), 10**12), r.random() * 10 ** r.randrange(-50, 50), round(r.random(), 3)][
                kind - 3
            ]
        return [r.choice([True, False, None]), 10 ** r.randrange(45), -0.0][kind - 6]

    def text(self) -> str:
        odd = ["de", "", "x, y", "{}", "a:b", "é", "日本", "x" * 40, 'q"q', "back\\slash", "\t", "nineteen letters ok"]
        return self.random.choice(odd) if self.random.random() < 0.2 else f"v{self.random.randrange(20)}"

    def name(self) -> str:
        odd = ["a", "user.email", "n.e", "long_feature_name_number_1", "é", "label", "window_id", "features"]
        return self.random.choice(odd) if self.random.random() < 0.3 else f"f{self.random.randrange(100)}"

    def any_label(self) -> Any:
        return self.random.choice([self.number(), self.text(), {"b": 2, "a": 1.5}, {}, [1]])

    def instant(self, at: int) -> Any:
        if self.number_times:
            return self.random.choice([1767225600000 + at, 1767225600000 + at, 0, -1, 10**15, 2**63, "x"])
        return self.random.choice(INSTANTS) if self.odd_times else f"2026-01-01T00:00:{at % 60:02d}Z"

    def features(self) -> dict[str, Any]:
        features = {key: kind() for key, kind in zip(self.keys, self.kinds, strict=True)}
        if self.open:
            features |= {
                self.name(): self.random.choice([self.number, self.text])() for _ in range(self.random.randrange(5))
            }
        if self.nested:
            features["u"] = {"x": self.number(), "y": [self.text(), "t"], "z": {"w": self.text()}}
        return features

    def event(self, at: int) -> dict[str, Any]:
        r = self.random
        window: dict[str, Any] = {"window_id": at if self.number_ids else f"w-{at}"}
        if r.random() < 0.03:
            window["window_id"] = r.choice(["", "é", "x" * 300, 12345678901234567890, -5, True, 1.5, None])
        if not self.truth:
            window |= {"window_start": self.instant(at), "window_end": "2026-12-31T23:59:59Z"}
        if self.tenants:
            window["tenant_id"] = r.choice(["acme", "b", "", None, 7]) if r.random() < 0.1 else "t"
        if self.extra:
            window |= {"note": self.text(), "weight": self.number()}
        if not self.truth:
            window["features"] = self.features()
        window["labels" if r.random() < 0.01 else "label"] = self.label()
        if not self.envelope:
            return window
        kind = "system.feature_window." + ("labelled" if self.truth else "created")
        return {"specversion": "1.0", "id": str(at), "source": "/s", "type": kind, "data": window}

    def lines(self, count: int) -> bytes:
        separators, escaped = self.random.choice(STYLES), self.random.random() < 0.2
        events = (self.event(at) for at in range(count))
        return "".join(json.dumps(e, separators=separators, ensure_ascii=escaped) + "\n" for e in events).encode()

    def damaged(self, text: bytes, times: int) -> bytes:
        bytes_ = bytearray(text)
        for _ in range(times):
            at = self.random.randrange(len(bytes_) + 1)
            gone = self.random.choice([0, 0, 1, 1, 2, 5, 40])
            bytes_[at : at + gone] = self.random.choice([*PIECES, self.random.randbytes(2)])
        return bytes(bytes_)


def strictly(text: bytes, offset: int = 0) -> tuple[Collected, int]:
    lines = split_lines(text, offset)
    return decode_lines(lines), len(lines)


def assert_same_rows(left: WindowBatch, right: WindowBatch) -> None:
    for column in ("kind", "start_ms", "end_ms", "label_kind", "label_value"):
        assert getattr(left, column).tobytes() == getattr(right, column).tobytes(), column
    for column in ("window_id", "tenant", "label_text"):
        assert getattr(left, column).to_list() == getattr(right, column).to_list(), column
    assert left.x.indptr.tolist() == right.x.indptr.tolist()
    assert left.x.index.tolist() == right.x.index.tolist()
    assert left.x.value.tobytes() == right.x.value.tobytes()


def assert_agreement(text: bytes, decoder: Decoder | None = None) -> Decoded:
    decoded = (decoder or Decoder()).decode_lines(text, 1)
    expected, count = strictly(text, 1)
    assert_same_rows(decoded.batch, expected.batch)
    assert decoded.rejects == expected.rejects
    assert decoded.lines == count == len(decoded.batch) + len(decoded.rejects)
    if decoder is None:
        told = dict(zip(decoded.name_hashes.tolist(), decoded.names.to_list(), strict=True))
        used = dict(zip(expected.hashes.tolist(), map(name_text, expected.names), strict=True))
        assert {index: told[index] for index in used} == used
    return decoded


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(8, 60))
def test_both_readers_agree_on_what_producers_write(seed: int, count: int) -> None:
    assert_agreement(Producer(seed).lines(count))


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32), st.integers(8, 60), st.integers(1, 5))
def test_both_readers_agree_on_damaged_lines(seed: int, count: int, times: int) -> None:
    producer = Producer(seed)
    assert_agreement(producer.damaged(producer.lines(count), times))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**32), min_size=2, max_size=4))
def test_shapes_learned_before_never_mislead(seeds: list[int]) -> None:
    decoder = Decoder()
    for seed in [*seeds, *seeds]:
        producer = Producer(seed)
        assert_agreement(producer.damaged(producer.lines(30), 1), decoder)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**20), 10**20),
    st.integers(0, 9),
    st.floats(-10, 10).map(lambda x: round(x, 6)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, min_size=8, max_size=60), st.booleans())
def test_numbers_are_what_python_reads_rounded_to_float32(values: list[float], bulk: bool) -> None:
    values = values * 20 if bulk else values
    text = "".join(line(at, f'"v":{json.dumps(value)}') for at, value in enumerate(values))
    with np.errstate(over="ignore"):
        expected = np.array(values, np.float64).astype(np.float32)
    finite = expected[np.isfinite(expected)] + np.float32(0)
    assert assert_agreement(text.encode()).batch.x.value.tobytes() == finite.tobytes()


def line(at: int, features: str, label: str = "1") -> str:
    head = f'{{"window_id":"w-{at}","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:00:01Z",'
    return f'{head}"features":{{{features}}},"label":{label}}}\n'


USUAL = {
    "same keys": [line(at, f'"a":{at}.25,"b":"x{at}"') for at in range(40)],
    "any names": [line(at, f'"a":{at},"w{at}":1,"v{at}":0.5,"c":"t{at % 3}"') for at in range(40)],
    "two shapes": [line(at, f'"a":{at}.25', '"spam"' if at % 2 else "null") for at in range(40)],
    "literals": [line(at, f'"a":{at}e-3,"b":true,"c":null') for at in range(40)],
    "nested": [line(at, f'"u":{{"x":{at},"y":["s{at}","t"]}}') for at in range(40)],
    "ground truth": [f'{{"window_id":"w{at}","label":{at % 2}}}\n' for at in range(40)],
    "not ASCII": [line(at, f'"é":{at},"city":"Köln"') for at in range(40)],
    "integer ids": [line(at, '"a":1').replace(f'"w-{at}"', str(at)) for at in range(40)],
    "Unix milliseconds": [line(at, '"a":1').replace('"2026-01-01T00:00:00Z"', "1767225600000") for at in range(40)],
    "long numbers": [line(at, ",".join(f'"n{k}":{at / 7 + k}' for k in range(20))) for at in range(40)],
}


@pytest.mark.parametrize("lines", USUAL.values(), ids=USUAL)
def test_usual_lines_are_all_read_in_columns(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(lines).encode()
    expected, _ = strictly(text)
    handed_over: list[tuple[int, bytes]] = []
    monkeypatch.setattr(fastjson, "decode_lines", lambda lines: handed_over.extend(lines) or decode_lines(lines))
    decoder = Decoder()
    for _ in range(2):
        assert_same_rows(decoder.decode_lines(text).batch, expected.batch)
    assert handed_over == []


def test_a_line_may_be_longer_than_a_block() -> None:
    wide = line(1, ",".join(f'"name{k}":{k % 10}' for k in range(60_000)))
    text = "".join([line(0, '"a":1')] * 20 + [wide] * 10 + [line(2, '"a":1')] * 20).encode()
    decoded = assert_agreement(text)
    assert (len(decoded.batch), int(np.diff(decoded.batch.x.indptr).max())) == (50, 60_000)

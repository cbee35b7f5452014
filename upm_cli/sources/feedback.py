"""Lines that agents write → predictions and outcomes; those with features are windows too.

What a line may be is in docs/reference/windows.md. A prediction's features are decoded by the reader of windows, so
that they mean the same in both.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from upm_cli.core.feedback.lines import OUTCOME, PREDICTION, Label, Outcome, Prediction
from upm_cli.core.records import SourcePosition
from upm_cli.core.window import I64Array, Strings, U32Array, WindowBatch
from upm_cli.sources.base import MAX_ID_BYTES, MAX_LINE_BYTES, Chunk, Reject
from upm_cli.sources.decode import kept_of
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.events import identifier
from upm_cli.sources.labels import parse_label
from upm_cli.sources.refusal import Refusal

_BOM: Final = b"\xef\xbb\xbf"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_VERSION: Final = 2**31 - 1
_LARGEST: Final = 1e12  # of a number that is predicted, as for labels
Id: TypeAlias = str | int
Instant: TypeAlias = datetime | int


class _Served(msgspec.Struct):
    prediction_id: Id
    window_id: Id
    trainer: str
    version: int
    digest: str
    epoch: int
    agent: Id
    predicted_at: Instant
    window_start: Instant
    window_end: Instant
    prediction: dict[str, Any]
    tenant_id: Id | None = None


class _Prediction(_Served, tag_field="type", tag=PREDICTION):
    features: msgspec.Raw = msgspec.Raw(b"null")


class _Outcome(msgspec.Struct, tag_field="type", tag=OUTCOME):
    prediction_id: Id
    label: Any
    observed_at: Instant
    agent: Id
    acted: bool | None = None
    served: _Served | None = None


class _Envelope(msgspec.Struct):
    specversion: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode_line: Final = msgspec.json.Decoder(_Prediction | _Outcome).decode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode


@dataclass(slots=True)
class Line:
    """One line: where it is in its source, and what it is. `row`: of its window, -1 where it has none."""

    offset: int
    end: int  # offset of what comes after it
    item: Prediction | Outcome | Reject
    row: int = -1
    features: bytes = b""


@dataclass(slots=True)
class FeedbackDecoded:
    """What one chunk held: a `Line` for each that is not blank, and the windows of predictions with features.

    `names` and `name_hashes` as in `Decoded`.
    """

    lines: list[Line]
    windows: WindowBatch
    names: Strings
    name_hashes: U32Array


@dataclass(slots=True)
class Part:
    """Some lines of a chunk that follow each other, and how far their source has been read behind them."""

    chunk: Chunk
    decoded: FeedbackDecoded
    lines: list[Line]
    position: SourcePosition | None = None  # None: they come from nothing that is gone on with


class FeedbackDecoder:
    """Decodes the chunks of one worker; `decoder` reads the features and remembers their names."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, chunk: Chunk) -> FeedbackDecoded:
        """Decode whole lines; those that are neither a prediction nor an outcome are rejects."""
        lines = list(_lines(chunk.data, chunk.offset))
        asked = [number for number, line in enumerate(lines) if line.features]
        texts = [
            b'{"window_id":%d,"window_start":0,"window_end":0,"features":%b}\n' % (n, lines[n].features) for n in asked
        ]
        found = self._decoder.decode_lines(b"".join(texts), 1)  # not 0: what comes first there may be a byte order mark
        starts = np.cumsum([1, *map(len, texts)])
        for reject in found.rejects:
            line = lines[asked[int(starts.searchsorted(reject.offset, "right")) - 1]]
            line.item = Reject(line.offset, reject.reason, _raw(chunk, line))
        good = [int(text) for text in found.batch.window_id.to_list()]
        for row, number in enumerate(good):
            lines[number].row = row
        windows = _named(found.batch, [lines[number].item for number in good])
        return FeedbackDecoded(lines, windows, found.names, found.name_hashes)


def first_time_ms(data: bytes) -> int | None:
    """Return the instant that the first good line of `data` tells; None when none of them is good."""
    for text in data.split(b"\n"):
        if text.strip():
            try:
                return _item(text.strip())[0].time_ms
            except Refusal:
                continue
    return None


def decode_outcome(raw: bytes) -> Outcome:
    """Return the outcome that `outcome_line` wrote. Raises Refusal when it is none."""
    item, _ = _item(raw)
    if not isinstance(item, Outcome):
        raise Refusal("it is not an outcome")
    return item


def _raw(chunk: Chunk, line: Line) -> bytes:
    return kept_of(chunk.data[line.offset - chunk.offset : line.end - chunk.offset].rstrip(b"\r\n"))


def _lines(data: bytes, offset: int) -> "list[Line]":
    found = []
    begin = len(_BOM) if offset == 0 and data.startswith(_BOM) else 0
    while begin < len(data):
        end = data.find(b"\n", begin) + 1 or len(data)
        text = data[begin:end].strip()
        if text:
            try:
                item, features = _item(text)
                found.append(Line(offset + begin, offset + end, item, -1, features))
            except Refusal as refusal:
                reject = Reject(offset + begin, str(refusal), kept_of(text))
                found.append(Line(offset + begin, offset + end, reject))
        begin = end
    return found


def _item(text: bytes) -> tuple[Prediction | Outcome, bytes]:
    """Return what a line is, and the JSON of its features. Raises Refusal."""
    if len(text) > MAX_LINE_BYTES:
        raise Refusal(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        line = _decode_line(_unwrapped(text) if b'"specversion"' in text else text)
    except UnicodeDecodeError as exc:
        raise Refusal("the line is not UTF-8") from exc
    except RecursionError as exc:
        raise Refusal("the JSON is nested too deeply") from exc
    except msgspec.ValidationError as exc:
        raise Refusal(f"neither a prediction nor an outcome: {exc}") from exc
    except msgspec.DecodeError as exc:
        raise Refusal(f"not JSON: {exc}") from exc
    if isinstance(line, _Prediction):
        features = bytes(line.features)
        return _prediction(line), b"" if features == b"null" else features
    return _outcome(line), b""


def _unwrapped(text: bytes) -> bytes | msgspec.Raw:
    """Return the object in an envelope; `text` itself where a feature just has the name of a field of one."""
    envelope = _decode_envelope(text)
    if envelope.specversion is None:
        return text
    if envelope.specversion != "1.0":
        raise Refusal("the envelope is not CloudEvents 1.0")
    if not bytes(envelope.data).startswith(b"{"):
        raise Refusal("the envelope has no object in data")
    return envelope.data


def _prediction(line: _Served) -> Prediction:
    if not 1 <= line.version <= _MOST_VERSION:
        raise Refusal(f"version is not between 1 and {_MOST_VERSION}")
    if not 0 <= line.epoch < 2**63:
        raise Refusal("epoch is not a count")
    if not _is_digest(line.digest):
        raise Refusal("digest is not a sha256 in lower-case hexadecimal")
    start_ms, end_ms = _ms(line.window_start), _ms(line.window_end)
    if end_ms < start_ms:
        raise Refusal("window_end is before window_start")
    _check_answer(line.prediction)
    return Prediction(
        _id(line.prediction_id, "prediction_id"),
        _id(line.window_id, "window_id"),
        line.trainer,
        "" if line.tenant_id is None else _id(line.tenant_id, "tenant_id"),
        line.version,
        line.digest,
        line.epoch,
        _id(line.agent, "agent"),
        _ms(line.predicted_at),
        start_ms,
        end_ms,
        line.prediction,
    )


def _outcome(line: _Outcome) -> Outcome:
    key = _id(line.prediction_id, "prediction_id")
    label = Label(*parse_label(line.label))
    if not label.kind:
        raise Refusal("label is missing")
    served = None if line.served is None else _prediction(line.served)
    if served is not None and served.prediction_id != key:
        raise Refusal("served is another prediction than prediction_id")
    agent = _id(line.agent, "agent")
    return Outcome(key, label, line.acted is not False, _ms(line.observed_at), agent, served)


def _ms(instant: Instant) -> int:
    """Return Unix milliseconds; text without an offset is UTC."""
    if isinstance(instant, int):
        if not -62_135_596_800_000 <= instant <= 253_402_300_799_999:
            raise Refusal(f"{instant} is not between the years 1 and 9999")
        return instant
    since = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - _EPOCH
    return since.days * _DAY_MS + since.seconds * 1000 + since.microseconds // 1000


@lru_cache(maxsize=64)
def _is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def _id(value: Id, key: str) -> str:
    """Return an id as text; most need no second look."""
    if type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= MAX_ID_BYTES:
        return value
    return identifier(value, key)


def _check_answer(answer: Mapping[str, Any]) -> None:
    """Raise Refusal unless `answer` has one of the forms of LabelCodec.decode."""
    said = answer.get("prediction")
    if "probabilities" in answer:
        shares = answer["probabilities"]
        if not isinstance(shares, dict) or not shares or not all(_is_share(each) for each in shares.values()):
            raise Refusal("probabilities is not an object of numbers between 0 and 1")
        if type(said) is not str:
            raise Refusal("the prediction with probabilities is not the name of a class")
    elif "probability" in answer:
        if not _is_share(answer["probability"]):
            raise Refusal("probability is not a number between 0 and 1")
    elif isinstance(said, dict):
        if not said or not all(_is_number(each) for each in said.values()):
            raise Refusal("the prediction is not an object of numbers")
    elif not _is_number(said):
        raise Refusal("prediction holds no number, class or object of numbers under prediction")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= _LARGEST


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _named(windows: WindowBatch, made: list[Any]) -> WindowBatch:
    """Return the windows with the ids, tenants and times of their predictions."""
    windows.window_id = Strings.of(each.window_id for each in made)
    windows.tenant = Strings.of(each.tenant for each in made)
    windows.start_ms = _column(each.start_ms for each in made)
    windows.end_ms = _column(each.end_ms for each in made)
    return windows


def _column(values: Any) -> I64Array:
    return np.fromiter(values, np.int64)

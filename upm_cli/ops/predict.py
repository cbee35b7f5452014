"""Predicting with a snapshot: what an agent would answer, from the shell."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.core.learning.labels import LabelCodec
from upm_cli.core.predict import open_model
from upm_cli.core.records import Snapshot
from upm_cli.errors import InvalidError, NotFoundError
from upm_cli.ops import snapshots
from upm_cli.sources.decoder import Decoder
from upm_cli.store import activations
from upm_cli.store import snapshots as rows

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """One line that is neither a window nor features, and why."""

    line: int  # from 1
    reason: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answers, in order, the snapshot that gave them, and the lines without one."""

    snapshot: Snapshot
    predictions: list[dict[str, Any]]
    refused: tuple[Unread, ...] = ()


def choose(store: "Store", trainer: str, word: str | None) -> Snapshot:
    """Return the snapshot named by `word`; without one what is active, and without that the newest.

    Raises NotFoundError when there is none.
    """
    with store.read() as reader:
        if word is None:
            word = "active" if activations.live(reader, trainer) else "latest"
        if word == "latest" and not rows.list_for(reader, trainer):
            raise NotFoundError(
                f"trainer {trainer} has no snapshot yet",
                hint=f"they come while training; or take one now: upm snapshot create {trainer}",
                code="UPM-E041",
            )
        return snapshots.find(reader, trainer, word)


def predict(store: "Store", trainer: str, word: str | None, lines: Iterable[bytes]) -> Predicted:
    """Predict windows given as JSON lines: whole windows, or just their features. Blank lines are nothing.

    Lines that are neither are left out and told. Raises InvalidError when that is all of them, IntegrityError when
    the snapshot's bytes are not right.
    """
    snapshot = choose(store, trainer, word)
    arrays, manifest = snapshots.load(store.home, snapshot)
    numbers, texts, refused = list[int](), list[bytes](), list[Unread]()
    for number, line in enumerate(lines, 1):
        try:
            texts += [_as_window(line, number)] * bool(line.strip())
        except _Unreadable as exc:
            refused.append(Unread(line=number, reason=str(exc)))
        else:
            numbers += [number] * bool(line.strip())
    data = b"".join(texts)
    decoded = Decoder().decode_lines(data)
    refused += (Unread(line=numbers[data[: one.offset].count(b"\n")], reason=one.reason) for one in decoded.rejects)
    refused.sort(key=lambda one: one.line)
    if refused and not len(decoded.batch):
        raise InvalidError(
            f"nothing to predict from: line {refused[0].line}: {refused[0].reason}",
            hint="""one JSON object a line, a window or its features: upm predict '{"hour": 9}'""",
            code="UPM-E181",
            context={"refused": len(refused)},
        )
    answers = open_model(arrays, manifest).predict_many(decoded.batch.x)
    codec = LabelCodec.from_meta(manifest["labels"])
    ids = decoded.batch.window_id.to_list()
    shown = codec.decode(answers)
    predictions = [{"window_id": name, **answer} for name, answer in zip(ids, shown, strict=True)]
    return Predicted(snapshot, predictions, tuple(refused))


class _Unreadable(Exception):  # noqa: N818 - an outcome for one line
    """Why a line is neither a window nor features."""


def _as_window(line: bytes, number: int) -> bytes:
    """Return the line as a whole window: features alone get a made-up id and time. Raises _Unreadable."""
    try:
        value = json.loads(line) if line.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise _Unreadable(f"not JSON: {exc}") from exc
    if not isinstance(value, Mapping) or not isinstance(value.get("data", value), Mapping):
        raise _Unreadable("not a JSON object: give a window, or its features as an object")
    body = value.get("data", value)
    if "window_start" in body and "window_id" in body:
        return line.strip() + b"\n"
    features = body.get("features", body)
    if not isinstance(features, Mapping):
        raise _Unreadable("the features are not an object")
    window = {"window_id": str(body.get("window_id", f"line-{number}")), "window_start": 0, "window_end": 1}
    return json.dumps({**window, "features": features}).encode() + b"\n"

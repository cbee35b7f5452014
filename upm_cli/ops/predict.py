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


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answers, in order, and the snapshot that gave them."""

    snapshot: Snapshot
    predictions: list[dict[str, Any]]


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
    """Predict windows given as JSON lines: whole windows, or just their features.

    Raises InvalidError naming the first line that is neither, IntegrityError when the snapshot's bytes are not right.
    """
    snapshot = choose(store, trainer, word)
    arrays, manifest = snapshots.load(store.home, snapshot)
    data = b"".join(_as_window(line, number) for number, line in enumerate(lines, 1) if line.strip())
    decoded = Decoder().decode_lines(data)
    if decoded.rejects:
        first = decoded.rejects[0]
        number = data[: first.offset].count(b"\n") + 1
        raise InvalidError(
            f"window {number} can't be read: {first.reason}",
            hint="one JSON object per line: a window, or its features",
            code="UPM-E038",
        )
    answers = open_model(arrays, manifest).predict_many(decoded.batch.x)
    codec = LabelCodec.from_meta(manifest["labels"])
    ids = decoded.batch.window_id.to_list()
    shown = codec.decode(answers)
    return Predicted(snapshot, [{"window_id": name, **answer} for name, answer in zip(ids, shown, strict=True)])


def _as_window(line: bytes, number: int) -> bytes:
    """Return the line as a whole window: features alone get a made-up id and time."""
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise InvalidError(
            f"line {number} is not JSON: {exc}",
            hint="""upm predict '{"hour": 9, "sender": "bank.example"}'""",
            code="UPM-E038",
        ) from exc
    if isinstance(value, Mapping) and isinstance(value.get("data", value), Mapping):
        body = value.get("data", value)
        if "window_start" in body and "window_id" in body:
            return line.strip() + b"\n"
        features = body.get("features", body)
        if not isinstance(features, Mapping):
            raise InvalidError(
                f"the features of line {number} are not an object",
                hint="""upm predict '{"features": {"hour": 9, "sender": "bank.example"}}'""",
                code="UPM-E038",
            )
        window = {"window_id": str(body.get("window_id", f"line-{number}")), "window_start": 0, "window_end": 1}
        return json.dumps({**window, "features": features}).encode() + b"\n"
    raise InvalidError(
        f"line {number} is not a JSON object", hint="give a window, or its features as an object", code="UPM-E038"
    )

"""Looking at input without taking it: what would become of it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from upm_cli.core.feedback.lines import Outcome, Prediction
from upm_cli.core.window import LabelKind, RowKind
from upm_cli.sources.base import Reject
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.feedback import FeedbackDecoder

CHUNK_BYTES: Final = 4 << 20
SHOWN_REJECTS: Final = 20


def check(specs: Sequence[str], format: str = "auto") -> dict[str, Any]:
    """Read and decode everything `specs` name, and write nothing.

    Returns `{windows, labels, rejected, rejects: [{source, offset, reason}]}`: windows, how many of them have a label,
    how many records are no windows, and the first of these. Raises UpmError when a source can't be read.
    """
    decoder, counts, shown = Decoder(), Counter[str](), list[dict[str, Any]]()
    for source in (source for spec in specs for source in open_sources(spec, format)):
        for chunk in source.chunks(None, CHUNK_BYTES):
            decoded = decoder.decode(chunk)
            windows = decoded.batch.kind == RowKind.WINDOW
            counts["windows"] += int(windows.sum())
            counts["labels"] += int((windows & (decoded.batch.label_kind != LabelKind.NONE)).sum())
            counts["rejected"] += len(decoded.rejects)
            for reject in decoded.rejects[: SHOWN_REJECTS - len(shown)]:
                shown.append({"source": chunk.source, "offset": reject.offset, "reason": reject.reason})
    return {name: counts[name] for name in ("windows", "labels", "rejected")} | {"rejects": shown}


def check_outcomes(specs: Sequence[str]) -> dict[str, Any]:
    """Read and decode what agents told, and write nothing.

    Returns `{predictions, windows, outcomes, rejected, rejects: [{source, offset, reason}]}`; windows are predictions
    with features.
    """
    decoder, counts, shown = FeedbackDecoder(Decoder()), Counter[str](), list[dict[str, Any]]()
    names = {Prediction: "predictions", Outcome: "outcomes", Reject: "rejected"}
    for source in (source for spec in specs for source in open_sources(spec, "jsonl")):
        for chunk in source.chunks(None, CHUNK_BYTES):
            decoded = decoder.decode(chunk)
            counts.update(names[type(line.item)] for line in decoded.lines)
            counts["windows"] += len(decoded.windows)
            rejects = [line.item for line in decoded.lines if isinstance(line.item, Reject)]
            for reject in rejects[: SHOWN_REJECTS - len(shown)]:
                shown.append({"source": chunk.source, "offset": reject.offset, "reason": reject.reason})
    return {name: counts[name] for name in ("predictions", "windows", "outcomes", "rejected")} | {"rejects": shown}

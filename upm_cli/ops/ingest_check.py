"""Looking at input without taking it: what would become of it."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from upm_cli.core.feedback.lines import Outcome, Prediction
from upm_cli.core.refused import Tally
from upm_cli.core.window import LabelKind, RowKind
from upm_cli.sources.base import Chunk, Reject
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.feedback import FeedbackDecoder
from upm_cli.sources.fields import look_at

CHUNK_BYTES: Final = 4 << 20
SHOWN_REASONS: Final = 20
SHOWN_REJECTS: Final = 20  # one by one


def check(specs: Sequence[str], format: str = "auto") -> dict[str, Any]:
    """Read and decode everything `specs` name, and write nothing.

    Returns `{windows, labels, later_labels, rejected, reasons, rejects: [{source, offset, reason}]}`: windows, how many
    of them have a label, labels of windows that came before, how many records are neither, why (see `Tally.reasons`),
    and the first of these. Raises UpmError when a source can't be read.
    """
    decoder, counts, seen = Decoder(), Counter[str](), _Seen()
    for source in (source for spec in specs for source in open_sources(spec, format)):
        for chunk in source.chunks(None, CHUNK_BYTES):
            decoded = decoder.decode(chunk)
            windows = decoded.batch.kind == RowKind.WINDOW
            counts["windows"] += int(windows.sum())
            counts["labels"] += int((windows & (decoded.batch.label_kind != LabelKind.NONE)).sum())
            counts["later_labels"] += int((decoded.batch.kind == RowKind.LABEL).sum())
            counts["rejected"] += len(decoded.rejects)
            seen.note(decoded.rejects, chunk, is_window=True)
    return {name: counts[name] for name in ("windows", "labels", "later_labels", "rejected")} | seen.told()


def check_outcomes(specs: Sequence[str]) -> dict[str, Any]:
    """Read and decode what agents told, and write nothing.

    Returns `{predictions, windows, outcomes, rejected, reasons, rejects: [{source, offset, reason}]}`; windows are
    predictions with features.
    """
    decoder, counts, seen = FeedbackDecoder(Decoder()), Counter[str](), _Seen()
    names = {Prediction: "predictions", Outcome: "outcomes", Reject: "rejected"}
    for source in (source for spec in specs for source in open_sources(spec, "jsonl")):
        for chunk in source.chunks(None, CHUNK_BYTES):
            decoded = decoder.decode(chunk)
            counts.update(names[type(line.item)] for line in decoded.lines)
            counts["windows"] += len(decoded.windows)
            rejects = [line.item for line in decoded.lines if isinstance(line.item, Reject)]
            seen.note(rejects, chunk, is_window=False)
    return {name: counts[name] for name in ("predictions", "windows", "outcomes", "rejected")} | seen.told()


class _Seen:
    """What was refused so far."""

    def __init__(self) -> None:
        self._tally, self._shown = Tally(), list[dict[str, Any]]()

    def note(self, rejects: Sequence[Reject], chunk: Chunk, *, is_window: bool) -> None:
        for reject in rejects:
            self._tally.add(
                reject.reason, chunk.source, reject.offset, partial(look_at, reject.raw), is_window=is_window
            )
        for reject in rejects[: SHOWN_REJECTS - len(self._shown)]:
            self._shown.append({"source": chunk.source, "offset": reject.offset, "reason": reject.reason})

    def told(self) -> dict[str, Any]:
        return {"reasons": self._tally.reasons(most=SHOWN_REASONS), "rejects": self._shown}

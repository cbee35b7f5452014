"""Chunks of any format → columns, each feature name told once."""

from typing import Final

from upm_cli.core.window import Strings, U32Array
from upm_cli.sources.base import Chunk, Decoded
from upm_cli.sources.csvrows import decode_csv
from upm_cli.sources.decode import Collected
from upm_cli.sources.fastjson import LineReader
from upm_cli.sources.features import name_text
from upm_cli.sources.names import DEFAULT_CAPACITY, SeenNames

_BOM: Final = b"\xef\xbb\xbf"


class Decoder:
    """Decodes the chunks of one ingest worker; `known` are name hashes that need not be told again.

    `dropped_names` counts names that were met after `max_names` were known; their windows are decoded all the same.
    """

    def __init__(self, known: U32Array | None = None, max_names: int = DEFAULT_CAPACITY) -> None:
        self._seen = SeenNames(known, max_names)
        self._lines = LineReader(self._seen)

    @property
    def dropped_names(self) -> int:
        return self._seen.dropped

    def decode(self, chunk: Chunk) -> Decoded:
        """Decode one chunk; what can't be decoded is among the rejects. Raises InvalidError for a bad CSV header."""
        if chunk.format == "csv":
            return self._told(*decode_csv(chunk))
        if chunk.format == "parquet":
            from upm_cli.sources.parquet import decode_parquet  # takes a tenth of a second, and few need it

            return self._told(*decode_parquet(chunk))
        return self.decode_lines(chunk.data, chunk.offset)

    def decode_lines(self, data: bytes, offset: int = 0) -> Decoded:
        """Decode whole JSON lines that begin at `offset` of their source."""
        if offset == 0 and data.startswith(_BOM):
            data, offset = data[len(_BOM) :], len(_BOM)
        return self._lines.decode(data, offset)

    def _told(self, rows: Collected, count: int) -> Decoded:
        fresh = self._seen.unseen(rows.hashes)
        texts = Strings.of(name_text(rows.names[at]) for at in fresh.tolist())
        return Decoded(rows.batch, texts, rows.hashes[fresh], rows.rejects, count)

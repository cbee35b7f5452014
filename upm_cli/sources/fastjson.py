"""JSON lines by the block: what can be read in columns is, all else goes to the strict decoder, one line at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from upm_cli.core.window import I64Array, Strings, U32Array, WindowBatch
from upm_cli.sources.base import MAX_LINE_BYTES, Decoded, Reject
from upm_cli.sources.block import Block, BoolArray, Lines, Scratch, blocks, find_lines
from upm_cli.sources.decode import RowColumns, decode_lines, parse_line
from upm_cli.sources.features import name_text
from upm_cli.sources.frame import frame_whole
from upm_cli.sources.names import SeenNames
from upm_cli.sources.openvocab import OpenReader
from upm_cli.sources.refusal import Refusal
from upm_cli.sources.skeleton import learn, learn_open
from upm_cli.sources.uniform import Part, Reader

MAX_SHAPES: Final = 8  # kept from block to block
NEW_SHAPES: Final = 3  # tried in one block
FEW: Final = 8  # lines of one shape for which columns don't pay
LONGEST_WAIT: Final = 64  # blocks without a try, after tries in vain


@dataclass(slots=True)
class _Job:
    """One block on its way: which of its lines are still `todo`, and the rows of those that are done."""

    block: Block
    offset: int  # of the block in its source
    lines: Lines
    todo: BoolArray
    numbers: list[I64Array] = field(default_factory=list)
    batches: list[WindowBatch] = field(default_factory=list)

    def done(self, numbers: I64Array, batch: WindowBatch) -> None:
        self.numbers.append(numbers)
        self.batches.append(batch)
        self.todo[numbers] = False

    def text(self, number: int) -> bytes:
        begin = self.block.begin
        return self.block.text[begin + int(self.lines.starts[number]) : begin + int(self.lines.ends[number])]

    def in_order(self) -> WindowBatch:
        """Return all rows in the order of their lines."""
        batch = WindowBatch.concat(self.batches)
        order = np.argsort(np.concatenate(self.numbers), kind="stable") if len(self.numbers) > 1 else None
        return batch if order is None else batch.take(order)


@dataclass(slots=True)
class _Output:
    """What was decoded so far."""

    batches: list[WindowBatch] = field(default_factory=list)
    names: list[Strings] = field(default_factory=list)
    hashes: list[U32Array] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    lines: int = 0


class LineReader:
    """Decodes JSON lines; remembers shapes of lines, and the names it has told, from one call to the next."""

    def __init__(self, seen: SeenNames) -> None:
        self._seen = seen
        self._readers: list[Reader] = []  # the last one of use comes first
        self._failures = self._wait = 0
        self._scratch = Scratch()

    def decode(self, text: bytes, offset: int) -> Decoded:
        """Decode whole lines that begin at `offset` of their source."""
        out = _Output()
        for block, begin in blocks(text, self._scratch):
            self._read_block(block, offset + begin, out)
        hashes = np.concatenate(out.hashes) if out.hashes else np.zeros(0, np.uint32)
        return Decoded(WindowBatch.concat(out.batches), Strings.concat(out.names), hashes, out.rejects, out.lines)

    def _read_block(self, block: Block, offset: int, out: _Output) -> None:
        if (
            self._readers
            and self._readers[0].shape.hole is None
            and (frame := frame_whole(block, self._readers[0].shape))
        ):
            part = self._readers[0].read(block, frame)
            if part.rows.size == frame.ends.size:
                self._tell(block, part, out)
                out.batches.append(part.batch)
                out.lines += len(part.batch)
                return
        lines = find_lines(block)
        job = _Job(block, offset, lines, lines.clean & (lines.ends - lines.starts <= MAX_LINE_BYTES))
        self._read_known_shapes(job, out)
        self._read_new_shapes(job, out)
        self._read_strictly(job, out)
        out.batches.append(job.in_order())

    def _read_known_shapes(self, job: _Job, out: _Output) -> None:
        best = 0
        for reader in list(self._readers):
            read = self._read_shape(job, reader, out)
            if read > best:
                best = read
                self._readers.remove(reader)
                self._readers.insert(0, reader)

    def _read_new_shapes(self, job: _Job, out: _Output) -> None:
        """Learn shapes from lines that none is known for; less and less often when that is of no use."""
        if self._wait:
            self._wait -= 1
            return
        examples = job.todo.copy()
        for _ in range(NEW_SHAPES):
            if np.count_nonzero(examples) < FEW:
                return
            number = int(np.argmax(examples))
            examples &= job.lines.marks != job.lines.marks[number]
            for reader in _learn(job.text(number)):
                fitting = int(np.count_nonzero(job.todo & reader.fits(job.lines)))
                if fitting < FEW or self._read_shape(job, reader, out) < max(FEW, fitting // 16):
                    continue
                self._readers = [reader, *self._readers[: MAX_SHAPES - 1]]
                self._failures = 0
                examples &= job.todo
                break
            else:
                self._failures += 1
                self._wait = min(1 << self._failures, LONGEST_WAIT)

    def _read_shape(self, job: _Job, reader: Reader, out: _Output) -> int:
        """Read the lines of one shape that are still to be read; return how many that were."""
        numbers = np.flatnonzero(job.todo & reader.fits(job.lines))
        if not numbers.size:
            return 0
        part = reader.read(job.block, reader.frame(job.block, job.lines, numbers))
        if part.rows.size:
            self._tell(job.block, part, out)
            job.done(numbers[part.rows], part.batch)
            out.lines += len(part.batch)
            self._tell_numbers(reader, out)
        return part.rows.size

    def _read_strictly(self, job: _Job, out: _Output) -> None:
        numbers, lines = [], []
        read = np.zeros(job.todo.size, bool)
        for done in job.numbers:
            read[done] = True
        for number in np.flatnonzero(~read).tolist():
            text = job.text(number)
            if text and not text.isspace():
                numbers.append(number)
                lines.append((job.offset + int(job.lines.starts[number]), text.removesuffix(b"\r")))
        if not lines:
            return
        rows = decode_lines(lines)
        fresh = self._seen.unseen(rows.hashes)
        out.names.append(Strings.of(name_text(rows.names[at]) for at in fresh.tolist()))
        out.hashes.append(rows.hashes[fresh])
        out.rejects.extend(rows.rejects)
        out.lines += len(lines)
        job.done(np.array(numbers, np.int64)[rows.number], rows.batch)

    def _tell_numbers(self, reader: Reader, out: _Output) -> None:
        fresh = self._seen.unseen(reader.name_hashes)
        out.names.append(reader.names.take(fresh))
        out.hashes.append(reader.name_hashes[fresh])

    def _tell(self, block: Block, part: Part, out: _Output) -> None:
        """Tell the names of features that are new."""
        for told in part.told:
            fresh = self._seen.unseen(told.index)
            if fresh.size:
                out.names.append(told.names(block, fresh))
                out.hashes.append(told.index[fresh])


def _learn(line: bytes) -> Iterator[Reader]:
    """Yield readers for lines like `line`: of the same features, and of any features."""
    try:
        RowColumns().add_line(line)
        event = parse_line(line)
    except Refusal:
        return
    if shape := learn(line, event):
        yield Reader(shape)
    if shape := learn_open(line, event):
        yield OpenReader(shape)

"""The same work with durability off: decode, order, predict, compare and learn in one process, and keep nothing.

    python benchmarks/in_memory.py FILE.jsonl

It uses the modules that the workers use, with the default settings, and leaves out the store: no log, names,
checkpoints, comparisons, snapshots, state, fsync and no second process. Prints {"windows", "loss", "loop_cpu_s"}.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from upm_cli.config.schema import Settings
from upm_cli.core.learning.task import TaskVote
from upm_cli.core.records import Trainer
from upm_cli.core.replay import ReplayBuffer
from upm_cli.core.training import Fold
from upm_cli.core.window import RowKind, WindowBatch
from upm_cli.ops.checkpoints import begin_fold
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.workers.ingest import replay_policy

CHUNK_BYTES = 4 << 20


def released(path: Path, settings: Settings) -> Iterator[WindowBatch]:
    """Decode and order the file, as the ingest worker does."""
    buffer = ReplayBuffer(replay_policy(settings.replay_buffer))
    decoder = Decoder()
    for source in open_sources(str(path), "jsonl", stream="bench"):
        for chunk in source.chunks(None, CHUNK_BYTES):
            yield buffer.push(decoder.decode(chunk).batch).batch
    yield buffer.drain().batch
    yield WindowBatch.empty(1, RowKind.END)


def learn(path: Path) -> Fold:
    """Fold over the rows, as the trainer does; the task is voted on by the first of them."""
    settings = Settings()
    vote = TaskVote()
    fold: Fold | None = None
    held: list[WindowBatch] = []
    for rows in released(path, settings):
        held.append(rows)
        if fold is None:
            vote.take(rows)
            fold = begin_fold(settings, vote, Trainer(name="bench", stream="bench"), input_ended=not len(rows.kind))
        if fold is not None:
            for part in held:
                for _ in fold.advance(part):
                    pass
            held = []
    assert fold is not None, "too few labels to tell the task"
    return fold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    begun = time.process_time()
    tally = learn(parser.parse_args().file).tally
    loop_s = time.process_time() - begun
    print(json.dumps({"windows": tally.trained, "loss": tally.loss_sum / tally.trained, "loop_cpu_s": loop_s}))


if __name__ == "__main__":
    main()

"""Ingest a file in chunks, in a process of its own, and die at the n-th durable operation (0: never).

Arguments: project home, file, n. Prints nothing; what it did is in the store.
"""

import os
import signal
import sys
from pathlib import Path

from upm_cli.clock import SystemClock
from upm_cli.core.replay import ReplayPolicy
from upm_cli.ops.ingest import IngestSession
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.store import fsio
from upm_cli.store.session import Store

POLICY = ReplayPolicy(release_delay_ms=5_000, late_window_tolerance_ms=20_000, max_buffer_size=4)
CHUNK_BYTES = 2_500


def ingest(home: Path, file: Path) -> None:
    """Do what a worker does with a complete input."""
    clock = SystemClock()
    store = Store(home, clock)
    session = IngestSession.open(store, clock, POLICY, "main")
    decoder = Decoder(session.known_names())
    positions = session.positions()
    for source in open_sources(str(file), stream="main", known=positions):
        at = next((position for position in positions if position.key == source.key), None)
        for chunk in source.chunks(at, CHUNK_BYTES):
            session.take(decoder.decode(chunk), chunk)
            session.commit()
    session.end_input()
    session.commit()
    store.close()


def die_at(number: int) -> None:
    """Kill this process at its `number`-th durable operation."""
    left = [number]

    def before(operation: str, path: Path) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    fsio.faults.before = before


if __name__ == "__main__":
    if int(sys.argv[3]):
        die_at(int(sys.argv[3]))
    ingest(Path(sys.argv[1]), Path(sys.argv[2]))

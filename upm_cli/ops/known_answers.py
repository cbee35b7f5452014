"""Small problems with known answers, worked out by hand: does this installation compute what it should?

Each function returns what differs, as sentences; an empty list is the good result.
"""

import tempfile
from pathlib import Path

from upm_cli.errors import IntegrityError


def compression() -> list[str]:
    """Store and fetch bytes with every codec, compare gzip with the standard library, and flip a bit."""
    import gzip

    from upm_cli.store import blobs

    data = b"feature window " * 4096 + bytes(range(256))
    wrong = []
    with tempfile.TemporaryDirectory(prefix="upm-validate-") as folder:
        for codec in ("zstd", "gzip", "none"):
            home = Path(folder) / codec
            blob = blobs.put(home, data, codec)
            stored = home / blob.path
            if blobs.get(home, blob.digest) != data:
                wrong.append(f"{codec} gives back other bytes")
            if codec != "none" and blob.size_bytes >= len(data) // 10:
                wrong.append(f"{codec} does not compress ({blob.size_bytes} of {len(data)} bytes)")
            if codec == "gzip" and gzip.decompress(stored.read_bytes()) != data:
                wrong.append("gzip files are not readable by others")
            if not _refuses_flipped_bit(home, stored, blob.digest):
                wrong.append(f"{codec}: a flipped bit goes unnoticed")
    return wrong


def _refuses_flipped_bit(home: Path, stored: Path, digest: str) -> bool:
    from upm_cli.store import blobs, fsio

    damaged = bytearray(stored.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    fsio.durable_write(stored, damaged)
    try:
        blobs.get(home, digest)
    except IntegrityError:
        return True
    return False


def drift() -> list[str]:
    """Score comparisons of each kind, take a P95 and judge three windows."""
    import numpy as np

    from upm_cli.core.drift import DriftPolicy, judge, seed_stats
    from upm_cli.core.quantile import p95
    from upm_cli.core.scores import seed_score

    policy = DriftPolicy(drift_threshold=0.2, sample_size=20)

    def verdict(score: float, n: int) -> str:
        return str(judge(seed_stats(np.full(n, score, np.float32), policy.drift_threshold), policy))

    answers: list[tuple[str, object, object]] = [
        ("numeric: |0.75 - 0.5|", seed_score(0.75, 0.5), 0.25),
        ("numeric: true against 0.25", seed_score(True, 0.25), 0.75),
        ("structured: mean over numeric keys", seed_score({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 4.5}), 1.75),
        ("structured: share of mismatched keys", seed_score({"x": "u", "y": "v"}, {"x": "u", "z": "w"}), 2 / 3),
        ("other: equal", seed_score("spam", "spam"), 0.0),
        ("other: different", seed_score("spam", "ham"), 1.0),
        ("P95 of 0..99", p95(np.arange(100.0)[::-1]), 95.0),
        ("P95 of one value", p95(np.array([7.0])), 7.0),
        ("verdict at the threshold", verdict(0.2, 20), "fail"),
        ("verdict below the threshold", verdict(0.19, 20), "pass"),
        ("verdict with too few samples", verdict(0.9, 19), "unknown"),
    ]
    return _compare(answers)


def replay() -> list[str]:
    """Push nine windows in disorder: one twice, one late but in time, one too late."""
    import numpy as np

    from upm_cli.core.replay import ReplayBuffer, ReplayPolicy
    from upm_cli.core.window import Strings, WindowBatch

    arrivals = [("a", 0), ("c", 4000), ("b", 2000), ("b", 2000), ("e", 12_000), ("d", 6500), ("g", 40_000)]
    arrivals += [("z", 1000), ("f", 37_000)]
    batch = WindowBatch.empty(len(arrivals))
    batch.window_id = Strings.of(name for name, _ in arrivals)
    batch.start_ms = np.array([start for _, start in arrivals], np.int64)
    batch.end_ms = batch.start_ms + 1000
    policy = ReplayPolicy(release_delay_ms=5000, late_window_tolerance_ms=10_000, max_buffer_size=1000)
    buffer = ReplayBuffer(policy)
    pushed, rest = buffer.push(batch), buffer.drain()
    answers: list[tuple[str, object, object]] = [
        ("order in the log", pushed.batch.window_id.to_list() + rest.batch.window_id.to_list(), list("abcdefg")),
        ("duplicates", pushed.duplicates.to_list(), ["b"]),
        ("late arrivals", pushed.late_arrivals.to_list(), ["d"]),
        ("late windows", pushed.late.window_id.to_list(), ["z"]),
        ("left in the buffer", rest.pending, 0),
    ]
    return _compare(answers)


def _compare(answers: list[tuple[str, object, object]]) -> list[str]:
    return [f"{what} is {got!r}, must be {known!r}" for what, got, known in answers if not _equal(got, known)]


def _equal(got: object, known: object) -> bool:
    if isinstance(got, float) and isinstance(known, float):
        return abs(got - known) <= 1e-12
    return got == known

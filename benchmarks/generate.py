"""Make the benchmark streams: the same seeded events as JSON lines (for upm) and as VW text (for Vowpal Wabbit).

    python benchmarks/generate.py narrow:1000000 wide:200000 [--out benchmarks/data] [--seed 1]

narrow  20 numbers (normal, uniform and skewed; rounded to six decimals) and 3 categories with 10, 50 and 200 values;
        a yes/no label drawn from a logistic ground truth; 50 tenants; windows of one second, one after the other.
wide    about 80 of 10^6 word-like names, frequencies falling like 1/rank; most values are 1; the same kind of label.

Every block of rows has its own generator, seeded with (seed, shape, block): a short file is the beginning of a longer
one, memory stays flat, and the same arguments give the same bytes.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filenames import file_stem

Floats = npt.NDArray[np.float64]
Event = tuple[dict[str, object], float]  # named features, and the log odds of the label

BLOCK = 10_000
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS = 50
LEVELS = (10, 50, 200)
VOCABULARY = 1_000_000
DRAWS = 88  # of which about 80 are distinct
SHAPES = {"narrow": 0, "wide": 1}
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwxyz", "aeiou"
_SYLLABLES = [a + b for a in _CONSONANTS for b in _VOWELS]


def narrow_events(seed: int) -> Callable[[int], Iterator[Event]]:
    """Return a function that makes block number `k` of the narrow stream."""
    truth = np.random.default_rng([seed, SHAPES["narrow"]])
    weights = truth.normal(0, 0.55, 20)
    effects = [truth.normal(0, 0.5, n) for n in LEVELS]
    names = [f"n{i:02d}" for i in range(20)]

    def block(k: int) -> Iterator[Event]:
        rng = np.random.default_rng([seed, SHAPES["narrow"], k + 1])
        x = np.hstack([rng.normal(0, 1, (BLOCK, 12)), rng.random((BLOCK, 4)), rng.gamma(2.0, 0.5, (BLOCK, 4))])
        x = np.round(x, 6)
        codes = [np.minimum(rng.geometric(3 / n, BLOCK) - 1, n - 1) for n in LEVELS]
        logit = x @ weights - 0.8 + sum(effect[code] for effect, code in zip(effects, codes, strict=True))
        for values, a, b, c, odds in zip(x.tolist(), *(code.tolist() for code in codes), logit.tolist(), strict=True):
            row: dict[str, object] = dict(zip(names, values, strict=True))
            row |= {"channel": f"ch{a}", "region": f"region-{b}", "product": f"sku{c:03d}"}
            yield row, odds

    return block


def word(number: int) -> str:
    """Return a pronounceable name for `number`, another one for each number below 10^6."""
    text = _SYLLABLES[number % 100]
    while number := number // 100:
        text += _SYLLABLES[number % 100]
    return text


def wide_events(seed: int) -> Callable[[int], Iterator[Event]]:
    """Return a function that makes block number `k` of the wide stream."""
    truth = np.random.default_rng([seed, SHAPES["wide"]])
    weights = truth.normal(0, np.where(np.arange(VOCABULARY) < 20_000, 0.5, 0.1))
    names = [word(number) for number in truth.permutation(VOCABULARY).tolist()]
    mass = np.cumsum(1.0 / (np.arange(VOCABULARY) + 4.0))
    mass /= mass[-1]
    usual = DRAWS * float(np.diff(mass, prepend=0.0) @ weights)  # of the log odds: the classes come out about even

    def block(k: int) -> Iterator[Event]:
        rng = np.random.default_rng([seed, SHAPES["wide"], k + 1])
        ranks = np.searchsorted(mass, rng.random((BLOCK, DRAWS)))
        counts = rng.geometric(0.85, (BLOCK, DRAWS))
        for drawn, values in zip(ranks.tolist(), counts.tolist(), strict=True):
            bag = dict(zip(drawn, values, strict=True))
            kept = np.fromiter(bag, np.int64, len(bag))
            yield {names[rank]: value for rank, value in bag.items()}, float(weights[kept].sum()) - usual

    return block


def iso(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def vw_line(features: dict[str, object], label: int) -> str:
    """Return one line of VW text: -1 or 1, then `name:value`, `name` for 1, and `name=text` for categories."""
    parts = ["1 |f" if label else "-1 |f"]
    for name, value in features.items():
        parts.append(f"{name}={value}" if isinstance(value, str) else name if value == 1 else f"{name}:{value}")
    return " ".join(parts) + "\n"


def write(shape: str, rows: int, out: Path, seed: int) -> tuple[Path, Path]:
    """Write `rows` events of `shape` as JSON lines and as VW text in `out`; return both paths."""
    out.mkdir(parents=True, exist_ok=True)
    stem = file_stem(shape, rows)
    paths = out / f"{stem}.jsonl", out / f"{stem}.vw"
    block = narrow_events(seed) if shape == "narrow" else wide_events(seed)
    dumps = json.JSONEncoder(separators=(",", ":")).encode
    with paths[0].open("w", encoding="utf-8") as lines, paths[1].open("w", encoding="utf-8") as text:
        for k in range(-(-rows // BLOCK)):
            chance = np.random.default_rng([seed, 7, k])
            luck, tenants = chance.random(BLOCK).tolist(), chance.integers(0, TENANTS, BLOCK).tolist()
            first = k * BLOCK
            for i, (features, logit) in zip(range(first, min(rows, first + BLOCK)), block(k), strict=False):
                label = int(luck[i - first] < 1 / (1 + np.exp(-logit)))
                event = {
                    "window_id": f"w-{i:09d}",
                    "window_start": iso(i),
                    "window_end": iso(i + 1),
                    "tenant_id": f"tenant-{tenants[i - first]:02d}",
                    "features": features,
                    "label": label,
                }
                lines.write(dumps(event) + "\n")
                text.write(vw_line(features, label))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wanted", nargs="+", metavar="SHAPE:ROWS", help="narrow:1000000, wide:200000 …")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for wanted in options.wanted:
        shape, _, rows = wanted.partition(":")
        if shape not in SHAPES or not rows.isdigit():
            parser.error(f"{wanted!r} is not narrow:ROWS or wide:ROWS")
        for path in write(shape, int(rows), options.out, options.seed):
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

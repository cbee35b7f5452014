"""From a file of windows to a saved model: upm against Vowpal Wabbit, River and scikit-learn, in one run.

    python benchmarks/end_to_end.py [--quick] [--rounds 5] [--data benchmarks/data] [--only narrow|wide] [--json]

Every contender is a process of its own and reads the same generated file (made by generate.py when missing). upm runs
as its users run it, `upm train --source FILE --once` in a fresh project with the defaults: replay buffer, event log,
checkpoints, comparisons and snapshots included. Contenders take turns; ratios are medians over the rounds of
theirs / upm's, so above 1 upm is the cheaper one. River and scikit-learn see fewer windows (they would take minutes),
are compared by their time for a window, and without their imports. The row `in memory` is upm's own work without the
store (in_memory.py): what is above it is the price of durability and of several processes.
"""

import argparse
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import measure
from filenames import file_stem
from measure import Run

HERE = Path(__file__).parent
UPM = [sys.executable, "-m", "upm_cli"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much each contender sees of one shape."""

    upm: int
    river: int
    sklearn: int
    short: int  # of the memory pair
    long: int


FULL = {
    "narrow": Size(1_000_000, 50_000, 200_000, 500_000, 2_000_000),
    "wide": Size(200_000, 10_000, 50_000, 100_000, 400_000),
}
QUICK = {
    "narrow": Size(100_000, 5_000, 20_000, 50_000, 200_000),
    "wide": Size(20_000, 2_000, 5_000, 10_000, 40_000),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `cpu_ratio` and `wall_ratio` are theirs / upm's."""

    shape: str
    contender: str
    windows: int
    cpu_us: float  # for a window
    wall_us: float
    largest_mib: float
    together_mib: float
    loss: float
    cpu_ratio: float
    wall_ratio: float


def upm(path: Path, *settings: str) -> Run:
    """Train on `path` in a fresh project; only `upm train` is measured."""
    with tempfile.TemporaryDirectory(prefix="upm-bench-") as folder:
        project = Path(folder) / "project"
        measure.run([*UPM, "init", str(project)])
        overrides = [part for setting in settings for part in ("--set", setting)]
        return measure.run([*UPM, "train", "--source", str(path), "--once", "--json", "-C", str(project), *overrides])


def vw(path: Path, options: str = "") -> Run:
    """Vowpal Wabbit over its text format, no cache, its own defaults for the logistic loss."""
    with tempfile.TemporaryDirectory(prefix="upm-bench-") as folder:
        arguments = f"--loss_function logistic -d {path.with_suffix('.vw')} -f {folder}/model --no_stdin {options}"
        code = f"import vowpalwabbit; vowpalwabbit.Workspace({arguments!r}).finish()"
        return measure.run([sys.executable, "-c", code])


def python_rival(name: str, path: Path, rows: int) -> Run:
    """River or scikit-learn: the time of the loop, without the imports."""
    run = measure.run([sys.executable, str(HERE / "rivals.py"), name, str(path), "--rows", str(rows)])
    loop_s = json.loads(run.stdout)["loop_cpu_s"]
    return replace(run, cpu_s=loop_s, wall_s=loop_s)


def loss_of(contender: str, run: Run) -> float:
    """Return the progressive log loss a run reported."""
    if contender.startswith("vw"):
        return float(re.findall(r"average loss = ([\d.]+)", run.stdout + run.stderr)[-1])
    said: dict[str, Any] = json.loads(run.stdout)
    return float(said["loss"]["progressive"] if contender == "upm" else said["loss"])


def compare(shape: str, size: Size, data: Path, rounds: int) -> list[Row]:
    """Let the contenders take turns over one shape."""
    path = stream(shape, size.upm, data)
    contenders: dict[str, tuple[int, Callable[[], Run]]] = {
        "upm": (size.upm, partial(upm, path)),
        "in memory": (size.upm, partial(measure.run, [sys.executable, str(HERE / "in_memory.py"), str(path)])),
        "vw": (size.upm, partial(vw, path)),
        "vw -b 22": (size.upm, partial(vw, path, "-b 22")),
        "river": (size.river, partial(python_rival, "river", path, size.river)),
        "sklearn": (size.sklearn, partial(python_rival, "sklearn", path, size.sklearn)),
    }
    if shape == "narrow":
        del contenders["vw -b 22"]  # its 18 bits are plenty here
    taken = dict(zip(contenders, measure.take_turns([c for _, c in contenders.values()], rounds), strict=True))
    ours = taken["upm"]
    rows = []
    for name, runs in taken.items():
        windows = contenders[name][0]
        share = size.upm / windows
        rows.append(
            Row(
                shape,
                name,
                windows,
                measure.median(runs, "cpu_s") / windows * 1e6,
                measure.median(runs, "wall_s") / windows * 1e6,
                measure.median(runs, "largest_mib"),
                measure.median(runs, "together_mib"),
                loss_of(name, runs[0]),
                measure.median_ratio(ours, runs, "cpu_s") * share,
                measure.median_ratio(ours, runs, "wall_s") * share,
            )
        )
    return rows


def memory_rows(shape: str, size: Size, data: Path) -> list[Row]:
    """Train on a short and on a four times longer stream: peak memory should be the same."""
    rows = []
    for windows in (size.short, size.long):
        run = upm(stream(shape, windows, data))
        costs = run.cpu_s / windows * 1e6, run.wall_s / windows * 1e6, run.largest_mib, run.together_mib
        rows.append(Row(shape, "upm", windows, *costs, loss_of("upm", run), math.nan, math.nan))
    return rows


def stream(shape: str, rows: int, data: Path) -> Path:
    """Return the generated file, made now if it isn't there.

    By another process: a child's peak memory begins with what its parent had when it was started.
    """
    path = data / f"{file_stem(shape, rows)}.jsonl"
    if not (path.exists() and path.with_suffix(".vw").exists()):
        print(f"making {path}", file=sys.stderr)
        measure.run([sys.executable, str(HERE / "generate.py"), f"{shape}:{rows}", "--out", str(data)])
    return path


def table(rows: list[Row]) -> str:
    lines = [
        f"{'':7}{'':10}{'windows':>10}{'CPU µs':>9}{'wall µs':>9}{'largest':>9}{'together':>9}{'loss':>9}"
        f"{'CPU ×':>8}{'wall ×':>8}",
    ]
    for row in rows:
        ratios = "".join("       –" if math.isnan(r) else f"{r:8.2f}" for r in (row.cpu_ratio, row.wall_ratio))
        lines.append(
            f"{row.shape:7}{row.contender:10}{row.windows:>10,}{row.cpu_us:>9.2f}{row.wall_us:>9.2f}"
            f"{row.largest_mib:>9.0f}{row.together_mib:>9.0f}{row.loss:>9.4f}{ratios}"
        )
    lines.append("µs for a window, MiB of the largest process and of all together; × is theirs / upm's")
    return "\n".join(lines)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the windows, one round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--only", choices=sorted(FULL))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = {k: v for k, v in (QUICK if options.quick else FULL).items() if options.only in (None, k)}
    rounds = options.rounds or (1 if options.quick else 5)
    rows: list[Row] = []
    for shape, size in sizes.items():
        rows += compare(shape, size, options.data, rounds)
        rows += memory_rows(shape, size, options.data)
    if options.json:
        print(json.dumps([{k: _finite(v) for k, v in asdict(row).items()} for row in rows]))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()

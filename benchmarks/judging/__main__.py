"""Run the experiments that are named, or all of them, and print one table.

    python -m benchmarks.judging [S1 S5 …]

Every module of this folder that has EXPERIMENTS (id → function that returns rows) is found by itself. Exit code 1 when
one does not meet its criterion. Seeds are fixed: the same machine prints the same table.
"""

import importlib
import pkgutil
import sys
import time
from collections.abc import Callable

from benchmarks import judging
from benchmarks.judging.table import Row, markdown


def experiments() -> dict[str, Callable[[], list[Row]]]:
    """Return all experiments by id, in order."""
    found: dict[str, Callable[[], list[Row]]] = {}
    for module in pkgutil.iter_modules(judging.__path__):
        if module.name != "__main__":
            found |= getattr(importlib.import_module(f"{judging.__name__}.{module.name}"), "EXPERIMENTS", {})
    return dict(sorted(found.items(), key=lambda item: int(item[0].lstrip("S"))))


def main(names: list[str]) -> int:
    known = experiments()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such experiment: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or known:
        started = time.perf_counter()
        rows += known[name]()
        print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    print(markdown(rows))
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

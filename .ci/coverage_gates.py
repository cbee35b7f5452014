"""Hold the coverage of the last test run against its two limits: lines of upm_cli, branches of upm_cli/core."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

GATES = (("upm_cli/", "lines", 85.0), ("upm_cli/core/", "branches", 95.0))
KEYS = {"lines": ("covered_lines", "num_statements"), "branches": ("covered_branches", "num_branches")}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)], check=True)
        files = json.loads(report.read_text())["files"]
    failed = 0
    for prefix, what, limit in GATES:
        counts = {name: [found["summary"][key] for key in KEYS[what]] for name, found in files.items()}
        inside = {name: count for name, count in counts.items() if name.startswith(prefix)}
        covered, total = (sum(column) for column in zip(*inside.values(), strict=True))
        share = 100.0 * covered / total
        passed = share >= limit
        failed += not passed
        print(f"{'pass' if passed else 'FAIL'}  {what} of {prefix}: {share:.1f} % of {total:,} (limit {limit:.0f} %)")
        for name, (hit, of) in sorted(inside.items(), key=lambda each: each[1][0] - each[1][1])[: 0 if passed else 8]:
            print(f"        {of - hit:4d} not covered in {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

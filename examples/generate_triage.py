"""Make a file of e-mail-triage messages, as in triage.jsonl.

python examples/generate_triage.py 20000 > mail.jsonl
python examples/generate_triage.py 20000 --shift-at 15000 --shift concept > shifted.jsonl
"""

import argparse
import sys
from datetime import datetime

import numpy as np

from upm_cli.sources.synthetic import Shift, TriageSpec, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("messages", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2026-01-05T08:00:00Z", help="event time of the first message (RFC 3339)")
    parser.add_argument("--spacing-ms", type=int, default=1000, help="between one message and the next")
    parser.add_argument("--tenants", type=int, default=12)
    parser.add_argument("--shift-at", type=int, help="number of the first message after the shift")
    parser.add_argument("--shift", type=Shift, default=Shift.INVERTED, choices=list(Shift), help="what goes wrong then")
    options = parser.parse_args()
    spec = TriageSpec(
        messages=options.messages,
        start_ms=int(datetime.fromisoformat(options.start).timestamp() * 1000),
        spacing_ms=options.spacing_ms,
        tenants=options.tenants,
        shift_at=options.shift_at,
        shift=options.shift,
    )
    sys.stdout.buffer.writelines(lines(spec, np.random.default_rng(options.seed)))


if __name__ == "__main__":
    main()

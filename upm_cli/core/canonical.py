"""The one JSON text of a value: what is hashed and signed must be the same bytes wherever it is made.

It stands apart from the snapshot format so that who only reads pointers or envelopes does not import NumPy.
"""

import json


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: keys sorted by code point, no spaces, shortest numbers.

    Raises ValueError for what JSON can't say (NaN, infinity, other types).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

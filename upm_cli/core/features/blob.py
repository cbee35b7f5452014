"""The state of feature drift as canonical bytes: the snapshot's container, with numbers that need not be finite.

A snapshot refuses infinities; the edge of an open cell and the log of nothing are infinite. So floating-point arrays
are stored as the integers with the same bits.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from upm_cli.core import snapshot as codec
from upm_cli.core.features.sketch import Arrays

_BITS: Final = "bits."
_TYPES: Final = ((np.dtype("<f4"), np.dtype("<u4")), (np.dtype("<f8"), np.dtype("<u8")))
_FLOATS: Final[Mapping[np.dtype[Any], np.dtype[Any]]] = dict(_TYPES)
_WORDS: Final[Mapping[np.dtype[Any], np.dtype[Any]]] = {words: floats for floats, words in _TYPES}


def pack(arrays: Arrays) -> bytes:
    """Return the bytes of `arrays`; the same arrays give the same bytes."""
    found: Arrays = {}
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        words = _FLOATS.get(plain.dtype)
        found |= {name: plain} if words is None else {f"{_BITS}{name}": plain.view(words)}
    return codec.encode(found, {"schema_version": codec.SCHEMA_VERSION})


def unpack(data: bytes) -> Arrays:
    """Return the arrays that were packed, read-only. Raises SnapshotFormatError when a bit is not as it was."""
    arrays, _ = codec.decode(data)
    return {
        name.removeprefix(_BITS): array.view(_WORDS[array.dtype]) if name.startswith(_BITS) else array
        for name, array in arrays.items()
    }

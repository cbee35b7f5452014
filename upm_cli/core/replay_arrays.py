"""Batches and strings as named flat arrays, for checkpoints."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import Csr, Influence, Strings, WindowBatch

Array = npt.NDArray[Any]


def strings_to_arrays(name: str, strings: Strings) -> dict[str, Array]:
    """Return the two arrays of a column of strings; lengths, as they compress better than offsets."""
    begin, end = strings.offsets[0], strings.offsets[-1]
    return {f"{name}.lengths": strings.lengths().astype(np.int32), f"{name}.data": strings.data[begin:end]}


def strings_from_arrays(name: str, arrays: Mapping[str, Array]) -> Strings:
    """Raises KeyError when an array is missing."""
    lengths = arrays[f"{name}.lengths"].astype(np.int64)
    return Strings(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), arrays[f"{name}.data"])


def batch_to_arrays(name: str, batch: WindowBatch) -> dict[str, Array]:
    """Return the arrays of a batch, each `name.column` or `name.column.part`; a column that is None has none."""
    arrays: dict[str, Array] = {}
    for column in fields(batch):
        key, value = f"{name}.{column.name}", getattr(batch, column.name)
        if isinstance(value, Strings):
            arrays |= strings_to_arrays(key, value)
        elif isinstance(value, Csr):
            arrays |= {f"{key}.{part}": getattr(value, part) for part in ("indptr", "index", "value")}
        elif isinstance(value, Influence):
            arrays |= {f"{key}.version": value.version, f"{key}.acted": value.acted}
        elif value is not None:
            arrays[key] = value
    return arrays


def batch_from_arrays(name: str, arrays: Mapping[str, Array]) -> WindowBatch:
    """Raises KeyError when an array is missing."""
    columns: list[Any] = []
    for column in fields(WindowBatch):
        key = f"{name}.{column.name}"
        if f"{key}.lengths" in arrays:
            columns.append(strings_from_arrays(key, arrays))
        elif f"{key}.indptr" in arrays:
            columns.append(Csr(*(arrays[f"{key}.{part}"] for part in ("indptr", "index", "value"))))
        elif f"{key}.version" in arrays:
            columns.append(Influence(arrays[f"{key}.version"], arrays[f"{key}.acted"]))
        elif column.name == "influence":
            columns.append(None)
        else:
            columns.append(arrays[key])
    return WindowBatch(*columns)

"""Named SQL: `sql/queries/<aggregate>.sql` holds blocks that begin with `-- name: <block>`."""

import functools
import re
from importlib import resources

from upm_cli.errors import UpmError

_HEADING = re.compile(r"^-- name: ([a-z_]+)\s*$", re.MULTILINE)


@functools.cache
def aggregate(name: str) -> dict[str, str]:
    """Return the blocks of `sql/queries/<name>.sql`. Raises UpmError when there is no such file."""
    file = resources.files("upm_cli.store") / "sql" / "queries" / f"{name}.sql"
    if not file.is_file():
        raise UpmError(f"no named SQL for {name!r}: {name}.sql is missing from this installation")
    _, *parts = _HEADING.split(file.read_text())
    names, texts = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise UpmError(f"{name}.sql names a block twice")
    return {block: text.strip().removesuffix(";") for block, text in zip(names, texts, strict=True)}


def statement(name: str) -> str:
    """Return the SQL called `<aggregate>.<block>`."""
    group, _, block = name.partition(".")
    blocks = aggregate(group)
    if block not in blocks:
        raise UpmError(f"no SQL named {name!r}; {group}.sql has {', '.join(sorted(blocks))}")
    return blocks[block]

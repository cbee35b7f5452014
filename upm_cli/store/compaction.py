"""Keeping the number of segments small: runs of little neighbours become one file.

Files first, rows swapped in one commit, old files collected later. A reader whose file is gone reads the state again
(`log.follow`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from upm_cli.core.records import Segment
from upm_cli.store import arrow, fsio, log, segmentfiles, segments, trash
from upm_cli.store.layout import COMPARISONS, LOG
from upm_cli.store.session import Store

MAX_ROWS: Final = 65_536
MIN_FILES: Final = 8
_WITHOUT_HOLES: Final = ("log", "names")


def compact(
    store: Store, kind: str, owner: str, *, max_rows: int = MAX_ROWS, min_files: int = MIN_FILES
) -> list[Segment]:
    """Merge the small segments of `owner` and return the new ones. Raises IntegrityError at a damaged file."""
    with store.read() as r:
        found = segments.list_for(r, kind, owner)
    merged = [(run, _merge(store, run)) for run in plan(found, max_rows=max_rows, min_files=min_files)]
    if not merged:
        return []
    done = []
    with store.write() as tx:
        current = set(segments.list_for(tx, kind, owner))
        for run, new in merged:
            if current.issuperset(run):
                segments.replace(tx, run, new)
                done.append((run, new))
    for run, _ in done:
        for old in run:
            fsio.touch(store.home / old.path, store.clock.now_ms())  # young again: readers may be at it
    return [new for _, new in done]


def plan(found: Sequence[Segment], *, max_rows: int, min_files: int) -> list[list[Segment]]:
    """Return which neighbours to merge: at least `min_files` that have no more than `max_rows` rows together."""
    runs: list[list[Segment]] = []
    run: list[Segment] = []
    for segment in found:
        fits = sum(part.rows for part in run) + segment.rows <= max_rows
        if not run or (fits and _adjoins(run[-1], segment)):
            run.append(segment)
            continue
        runs.append(run)
        run = [segment]
    runs.append(run)
    return [run for run in runs if len(run) >= max(min_files, 2)]


def collect(store: Store, *, older_than_ms: int = trash.GRACE_MS) -> trash.Collected:
    """Remove segment files that no row names, in two steps; young ones stay, their commit may be on the way."""
    files = [path for folder in (LOG, COMPARISONS) for path in _files(store.home / folder)]
    with store.read() as r:
        kept = segments.paths(r)
    orphans = [path for path in files if path.relative_to(store.home).as_posix() not in kept]
    return trash.collect(store.home, orphans, now_ms=store.clock.now_ms(), older_than_ms=older_than_ms)


def _adjoins(left: Segment, right: Segment) -> bool:
    return left.kind not in _WITHOUT_HOLES or right.first_seq == left.last_seq + 1


def _merge(store: Store, run: Sequence[Segment]) -> Segment:
    first, last = run[0], run[-1]
    return segmentfiles.write(
        store.home,
        Path(first.path).parent.as_posix(),
        _joined(store.home, run),
        kind=first.kind,
        owner=first.owner,
        seqs=(first.first_seq, last.last_seq),
        rows=sum(segment.rows for segment in run),
        at_ms=first.created_at_ms,  # how long its rows have been there is what is asked for
    )


def _joined(home: Path, run: Sequence[Segment]) -> bytes | memoryview:
    if run[0].path.endswith(".jsonl"):
        return b"".join(segmentfiles.read(home, segment) for segment in run)
    tables = [log.read_table(home, segment) for segment in run]
    joined = pa.concat_tables(tables, promote_options="default")  # a column that older ones lack is null there
    return arrow.encode(joined.unify_dictionaries().combine_chunks(), packed=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())

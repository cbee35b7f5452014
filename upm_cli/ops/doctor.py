"""`upm doctor`: is what lies on the disk whole? Every byte that a row names is read and proven."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.records import Snapshot
from upm_cli.core.signatures import SignatureState
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError, UpmError
from upm_cli.ops import keeping, key_health, signatures, training
from upm_cli.store import (
    blobs,
    collect,
    feedback,
    history,
    keys,
    layout,
    ledger,
    restore,
    segmentfiles,
    segments,
    snapshots,
    streams,
    trainers,
)
from upm_cli.store.session import Store

if TYPE_CHECKING:
    from upm_cli.store.session import Reader

_OF_STREAMS = ("log", "names", "dead", "late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `status`: pass, warn or fail."""

    name: str
    status: str
    detail: str
    hint: str = ""


def examine(home: Path, clock: Clock) -> list[Finding]:
    """Read back everything durable under `home`. Damage is a result here, not an exception."""
    found = [_state(home)]
    if found[0].status == "fail":
        return found
    store = Store(home, clock)
    with store.read() as reader:
        found.append(_ledger(home, reader))
        files = list(_files(reader))
        checkpoints = [row for row in trainers.list_all(reader) if row.checkpoint_digest]
        told = [feedback.get(reader, row.name) for row in trainers.list_all(reader)]
        waiting = [row.state_digest for row in streams.list_all(reader)] + [row.state_digest for row in told]
        buffers = [digest for digest in waiting if digest]
        made = [row for trainer in trainers.list_all(reader) for row in snapshots.list_for(reader, trainer.name)]
        needed = collect.referenced(reader)
    found.append(_all("segments", files, lambda segment: segmentfiles.read(home, segment)))
    verified = [one.error for one in keeping.verify(store, made)]
    found.append(_counted("snapshots", len(made), [str(error) for error in verified if error is not None]))
    found += [_signatures(home, made), _keys(home)]
    found.append(_all("checkpoints", checkpoints, lambda row: training.load_checkpoint(store, row)))
    found.append(_all("replay_buffers", buffers, lambda digest: blobs.get(home, digest)))
    found.append(_orphans(home, needed, clock))
    store.close()
    return found


def go_back(home: Path, clock: Clock, *, actor: str) -> dict[str, Any]:
    """Put the newest kept state in the place of one that does not open; a good one stays as it is.

    Raises IntegrityError when no kept state opens, BusyError while somebody writes.
    """
    done = restore.restore(home, clock, actor=actor)
    return {
        "restored": done.source is not None,
        "why": done.why,
        "from": str(done.source) if done.source else None,
        "kept_damaged_as": str(done.corrupt) if done.corrupt else None,
        "generation": done.generation,
        "ledger_entries_kept": done.ledger_entries_kept,
    }


def _state(home: Path) -> Finding:
    path = home / layout.STATE
    why = history.problem(path) if path.exists() else f"{path} is gone"
    kept = len(history.states(home))
    if why is None:
        return Finding(name="state", status="pass", detail=f"opens, every block read; {kept} earlier states kept")
    return Finding(
        name="state", status="fail", detail=why, hint="upm doctor --restore goes back to the newest that opens"
    )


def _ledger(home: Path, reader: "Reader") -> Finding:
    try:
        ledger.verify(home, reader.meta.ledger)
    except IntegrityError as exc:
        return Finding(name="ledger", status="fail", detail=exc.message, hint=exc.hint)
    return Finding(name="ledger", status="pass", detail=f"{reader.meta.ledger.count} entries, the chain is whole")


def _files(reader: "Reader") -> Iterator[Any]:
    for kind in (*_OF_STREAMS, "comparisons"):
        for owner in segments.owners(reader, kind):
            yield from segments.list_for(reader, kind, owner)


def _all(name: str, things: list[Any], prove: Callable[[Any], object]) -> Finding:
    problems = []
    for thing in things:
        try:
            prove(thing)
        except UpmError as exc:
            problems.append(exc.message)
    return _counted(name, len(things), problems)


def _counted(name: str, count: int, problems: list[str]) -> Finding:
    if not problems:
        return Finding(name=name, status="pass", detail=f"{count} read back, all whole")
    hint = "restore the files from a backup; upm rollback TRAINER leaves a damaged version"
    return Finding(name=name, status="fail", detail=f"{len(problems)} of {count}: {'; '.join(problems)}", hint=hint)


def _signatures(home: Path, made: list[Snapshot]) -> Finding:
    """Tell whether every signature is what its key made; whether one is asked for, `upm validate` tells."""
    judged = signatures.judged(home, made)
    wrong = [
        f"{snapshot_id(row.trainer, row.version)} is {found.words()}"
        for row, found in zip(made, judged, strict=True)
        if found.wrong or found.state is SignatureState.INVALID
    ]
    if wrong:
        hint = "upm explain UPM-E116"
        return Finding(name="signatures", status="fail", detail="; ".join(wrong), hint=hint)
    blind = [found for found in judged if found.state is SignatureState.UNCHECKED]
    if blind:
        said = f"{len(blind)} signatures were {blind[0].words()}"
        return Finding(name="signatures", status="warn", detail=said, hint="upm validate")
    signed = sum(bool(row.signatures) for row in made)
    return Finding(name="signatures", status="pass", detail=f"{signed} of {len(made)} signed, none was changed")


def _keys(home: Path) -> Finding:
    found = sorted(key_health.of_files(home), key=lambda problem: problem.status != "fail")
    if found:
        said = "; ".join(problem.detail for problem in found)
        return Finding(name="keys", status=found[0].status, detail=said, hint=found[0].hint)
    count = len(keys.read(home).keys)
    said = f"{count} known, their files are whole" if count else "there is no key"
    return Finding(name="keys", status="pass", detail=said)


def _orphans(home: Path, needed: set[str], clock: Clock) -> Finding:
    found = collect.orphans(home, needed, clock.now_ms())
    if not found:
        return Finding(name="orphans", status="pass", detail="no file without a row that is older than an hour")
    size = sum(path.stat().st_size for path in found if path.exists())
    detail = f"{len(found)} files ({size:,} bytes) that nothing needs, left by killed processes"
    return Finding(name="orphans", status="warn", detail=detail, hint="upm snapshot gc removes them")

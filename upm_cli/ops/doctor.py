"""`upm doctor`: is what lies on the disk whole, and the machine around it sound? Every byte a row names is proven."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock
from upm_cli.core.records import Snapshot
from upm_cli.core.signatures import SignatureState
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError, UpmError
from upm_cli.ops import checkpoints as checkpoint_ops
from upm_cli.ops import keeping, key_health, machine, repair, signatures
from upm_cli.ops.machine import Finding
from upm_cli.store import (
    blobs,
    collect,
    compaction,
    feedback,
    history,
    keys,
    layout,
    ledger,
    outbox,
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
_EVENTS: Final = 1000
DURABLE: Final = ("state", "ledger", "outbox", "segments", "snapshots", "checkpoints", "replay_buffers")


def examine(home: Path, clock: Clock) -> list[Finding]:
    """Read back everything durable under `home`, and look at the machine. Damage is a result, not an exception."""
    state = _state(home)
    durable = [] if state.status == "fail" else _durable(home, clock)
    return [state, *durable, *machine.look(home, clock)]


def is_damaged(findings: Sequence[Finding]) -> bool:
    """Say whether something durable is lost, and not only the machine around it in a bad way."""
    return any(finding.status == "fail" and finding.name in DURABLE for finding in findings)


def _durable(home: Path, clock: Clock) -> list[Finding]:
    found = []
    store = Store(home, clock)
    with store.read() as reader:
        found.append(_ledger(home, reader))
        found.append(_outbox(reader))
        files = list(_files(reader))
        checkpoints = [row for row in trainers.list_all(reader) if row.checkpoint_digest]
        told = [feedback.get(reader, row.name) for row in trainers.list_all(reader)]
        waiting = [row.state_digest for row in streams.list_all(reader)] + [row.state_digest for row in told]
        buffers = [digest for digest in waiting if digest]
        made = [row for trainer in trainers.list_all(reader) for row in snapshots.list_for(reader, trainer.name)]
        needed = collect.referenced(reader)
        kept = repair.reserve_finding(home, reader)
    found.append(_all("segments", files, lambda segment: segmentfiles.read(home, segment)))
    verified = [one.error for one in keeping.verify(store, made)]
    found.append(_counted("snapshots", len(made), [str(error) for error in verified if error is not None]))
    found += [_signatures(home, made), _keys(home)]
    found.append(_all("checkpoints", checkpoints, lambda row: checkpoint_ops.load_checkpoint(store, row)))
    found.append(_all("replay_buffers", buffers, lambda digest: blobs.get(home, digest)))
    found.append(_orphans(home, needed, clock))
    found += [_nameless(store), kept]
    store.close()
    return found


def _state(home: Path) -> Finding:
    path = home / layout.STATE
    why = history.problem(path) if path.exists() else f"{path} is gone"
    kept = len(history.states(home))
    if why is None:
        return Finding(name="state", status="pass", detail=f"opens, every block read; {kept} earlier states kept")
    return Finding(
        name="state",
        status="fail",
        detail=why,
        hint="upm doctor --restore --dry-run says what going back to the newest that opens would do",
    )


def _ledger(home: Path, reader: "Reader") -> Finding:
    try:
        ledger.verify(home, reader.meta.ledger)
    except IntegrityError as exc:
        return Finding(name="ledger", status="fail", detail=exc.message, hint=exc.hint)
    return Finding(name="ledger", status="pass", detail=f"{reader.meta.ledger.count} entries, the chain is whole")


def _outbox(reader: "Reader") -> Finding:
    """The newest events are there one after the other, up to the position that the state tells."""
    last = reader.meta.outbox_position
    found = [event.position for event in outbox.after(reader, max(0, last - _EVENTS), _EVENTS)]
    if (found and found == list(range(found[0], last + 1))) or (not found and last == 0):
        return Finding(name="outbox", status="pass", detail=f"{last:,} events told, none missing among the newest")
    detail = f"events are missing: {len(found)} of those up to {last:,} are there"
    return Finding(name="outbox", status="fail", detail=detail, hint="put a backup of .upm in its place")


def _nameless(store: Store) -> Finding:
    old_ms = store.clock.now_ms() - collect.GRACE_MS
    found = [
        path for path in compaction.orphans(store) if path.exists() and path.stat().st_mtime_ns // 1_000_000 <= old_ms
    ]
    if not found:
        return Finding(
            name="segment_files", status="pass", detail="no segment without a row that is older than an hour"
        )
    detail = f"{len(found)} segments that no row names, the first is {found[0].name}"
    return Finding(
        name="segment_files",
        status="warn",
        detail=detail,
        hint="upm train or upm ingest removes them when it tidies up",
    )


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

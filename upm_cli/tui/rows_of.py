"""Trainers, snapshots and workers as rows of lists."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from upm_cli.core.records import Snapshot
from upm_cli.ops import losses
from upm_cli.ops.processes import Usage
from upm_cli.tui.board import Board
from upm_cli.tui.text import (
    BAD,
    GOOD,
    NONE,
    QUIET,
    WARN,
    age,
    plain,
    right,
    short,
    size,
    snapshot_cells,
    trainer_cells,
)
from upm_cli.tui.widgets.listing import Row
from upm_cli.tui.widgets.rows import Column

TRAINERS: Final = (
    Column("state", "State"),
    Column("name", "Trainer", least=14),
    Column("mode", "Mode", rank=3),
    Column("active", "Active"),
    Column("newest", "Newest", rank=6),
    Column("drift", "Drift P95"),
    Column("rate", "Win/s", is_number=True, rank=4),
    Column("lag", "Lag", is_number=True, rank=5),
    Column("loss", "Loss", is_number=True, rank=7),
    Column("recent", "Recent loss", is_number=True, rank=9),
    Column("trained", "Trained", is_number=True, rank=8),
)
SNAPSHOTS: Final = (
    Column("status", "Status"),
    Column("version", "Version"),
    Column("created", "Created", rank=7),
    Column("age", "Age", is_number=True, rank=2),
    Column("parent", "Parent", rank=6),
    Column("windows", "Windows", is_number=True),
    Column("loss", "Loss", is_number=True, rank=3),
    Column("recent", "Recent loss", is_number=True, rank=8),
    Column("size", "Size", is_number=True, rank=4),
    Column("kept", "Kept", rank=1),
    Column("proven", "Verified", rank=1),
    Column("digest", "Digest", rank=8),
    Column("note", "Note", rank=9, least=8),
)
WORKERS: Final = (
    Column("state", "State"),
    Column("worker", "Worker"),
    Column("pid", "Pid", is_number=True),
    Column("cpu", "CPU", is_number=True),
    Column("rss", "Memory", is_number=True),
    Column("restarts", "Restarts", is_number=True, rank=3),
    Column("rate", "Win/s", is_number=True, rank=1),
    Column("done", "Done", is_number=True, rank=5),
    Column("lag", "Lag", is_number=True, rank=2),
    Column("told", "Told", is_number=True, rank=4),
    Column("says", "Says", rank=6, least=10),
)
_STUCK_S: Final = 30.0  # a worker that is alive and says nothing for so long may be stuck


def trainer_rows(board: Board, *, is_narrow: bool) -> dict[str, Row]:
    """Return every trainer, worst first."""
    is_past = board.past is not None
    return {
        row["name"]: Row(
            cells=trainer_cells(row, is_narrow=is_narrow, is_past=is_past),
            values={
                "state": row["state"],
                "name": row["name"],
                "mode": row["mode"],
                "active": row["active"],
                "newest": row["last_version"],
                "drift": row["drift"]["p95"],
                "rate": row["windows_per_s"],
                "lag": row["lag"],
                "loss": row["loss"]["progressive"],
                "recent": row["loss"]["recent"],
                "trained": row["windows"]["trained"],
            },
            fields={"trainer": row["name"], "state": row["state"], "mode": row["mode"]},
        )
        for row in board.overview["trainers"]
    }


def snapshot_rows(board: Board, proven: Mapping[tuple[str, str], str], marked: int | None = None) -> dict[str, Row]:
    """Return the snapshots of the board, newest first; `proven` says what is wrong with what was read back."""
    return {
        str(shot.version): _snapshot(
            shot, board, proven.get((shot.digest, shot.path)), is_marked=shot.version == marked
        )
        for shot in board.snapshots or ()
    }


def _snapshot(shot: Snapshot, board: Board, problem: str | None, *, is_marked: bool) -> Row:
    rings = board.rings(shot)
    cells = snapshot_cells(shot, rings, None if problem is None else not problem)
    seconds = (board.at_ms - shot.created_at_ms) / 1000
    cells["age"] = right(age(seconds))
    if is_marked:
        cells["version"] = Text.assemble(cells["version"], (" ◀", "bold cyan"))
    loss = losses.of_metrics(shot.metrics)
    return Row(
        cells=cells,
        values={
            "status": cells["status"].plain,
            "version": shot.version,
            "created": shot.created_at_ms,
            "age": seconds,
            "parent": shot.parent,
            "windows": shot.windows,
            "loss": loss["progressive"],
            "recent": loss["recent"],
            "size": shot.size_bytes,
        },
        fields={
            "status": cells["status"].plain,
            "version": str(shot.version),
            "live": " ".join(rings),
            "digest": shot.digest,
        },
    )


def worker_rows(board: Board, cpu: Mapping[int, float | None]) -> dict[str, Row]:
    """Return every worker that has ever written a status file, those in trouble first; `cpu` is the share by pid."""
    told = [with_process_age(worker, board.overview["workers"]) for worker in board.overview["workers"]]
    rows = sorted(told, key=lambda worker: (_severity(worker), str(worker.get("worker"))))
    return {str(worker["worker"]): _worker(worker, board.usage, cpu) for worker in rows if "worker" in worker}


def with_process_age(worker: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a worker with how long its whole process has said nothing: of several jobs, one at rest says nothing."""
    ages = [each["age_s"] for each in workers if each["alive"] and each.get("pid") == worker.get("pid")]
    return {**worker, "silent_s": min(ages, default=worker["age_s"])}


def worker_state(worker: Mapping[str, Any]) -> Text:
    """Return what a worker does, as symbol and word."""
    state = str(worker.get("state", "unknown"))
    severity = _severity(worker)
    sign, style = {0: ("✗", BAD), 1: ("!", WARN), 2: ("●", GOOD), 3: ("○", QUIET)}[severity]
    word = {0: state if state in _FAILED else "died", 1: "silent"}.get(severity, state)
    return Text(f"{sign} {word}", style=style)


_FAILED: Final = ("failed", "fatal", "errored")
_ENDED: Final = ("stopped", "done", "finished", "idle")


def _severity(worker: Mapping[str, Any]) -> int:
    state = worker.get("state")
    if state in _FAILED or (not worker["alive"] and state not in _ENDED):
        return 0
    if worker["alive"] and worker.get("silent_s", worker["age_s"]) > _STUCK_S:
        return 1
    return 2 if worker["alive"] else 3


def _worker(worker: Mapping[str, Any], usage: Mapping[int, Usage], cpu: Mapping[int, float | None]) -> Row:
    pid = int(worker.get("pid") or 0)
    used = usage.get(pid) if worker["alive"] else None
    share = cpu.get(pid) if worker["alive"] else None
    rate, lag = worker.get("rate") if worker["alive"] else None, worker.get("lag")
    rss = used.rss_bytes if used is not None else None
    restarts = worker.get("restarts")
    return Row(
        cells={
            "state": worker_state(worker),
            "worker": Text(plain(worker["worker"])),
            "pid": right(str(pid) if worker["alive"] else NONE),
            "cpu": right(NONE if share is None else f"{100 * share:.0f} %"),
            "rss": right(NONE if rss is None else size(rss)),
            "restarts": right(NONE if restarts is None else f"{restarts:,}"),
            "rate": right(NONE if rate is None else short(rate)),
            "done": right(NONE if worker.get("done") is None else short(worker["done"])),
            "lag": right(NONE if lag is None else short(lag)),
            "told": right(f"{age(worker['age_s'])} ago"),
            "says": Text(_says(worker), style=BAD if worker.get("error") else QUIET),
        },
        values={
            "state": _severity(worker),
            "worker": str(worker["worker"]),
            "pid": pid,
            "cpu": share,
            "rss": rss,
            "restarts": restarts,
            "rate": rate,
            "done": worker.get("done"),
            "lag": lag,
            "told": worker["age_s"],
        },
        fields={
            "worker": str(worker["worker"]),
            "state": str(worker.get("state", "")),
            "trainer": str(worker.get("trainer", "")),
        },
    )


def _says(worker: Mapping[str, Any]) -> str:
    error = worker.get("error")
    if isinstance(error, Mapping):
        return plain(f"{error.get('code', '')} {error.get('message', '')}".strip())
    loss = worker.get("loss")
    return f"loss {loss:.3f}" if isinstance(loss, int | float) else ""

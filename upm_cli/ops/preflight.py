"""`upm validate`: may this project go live? Every check really does what it is named after.

Checks only report: a broken configuration, a missing or damaged state and a newer schema are results, not crashes.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.config.problems import ConfigError
from upm_cli.errors import IntegrityError, InvalidError, NotFoundError, UpmError
from upm_cli.ops import backup_age, known_answers, live_checks, security_check
from upm_cli.ops.checks import Check, Subject, guarded
from upm_cli.ops.project import storage_folder

if TYPE_CHECKING:
    from upm_cli.ops.key_health import Problem
    from upm_cli.store.session import Reader, Store

LOW_DISK_BYTES: Final = 200 << 20
STUCK_AFTER_S: Final = 60.0


def run_checks(subject: Subject, *, is_exhaustive: bool = False) -> list[Check]:
    """Run every check, in order; none of them stops another. `is_exhaustive`: leave no state of a rollout out."""
    checks = dict(_CHECKS)
    if is_exhaustive:
        checks["rollout_machine"] = _every_rollout_state
    return [guarded(name, check, subject) for name, check in checks.items()]


def _feature_flag(subject: Subject) -> Check:
    name = "feature_flag"
    if subject.settings is None:
        return Check(name=name, status="skip", detail="the configuration can't be read")
    if subject.settings.features.unified_model:
        return Check(name=name, status="pass", detail=f"features.unified_model is on ({subject.origin_of_flag})")
    hint = "set features.unified_model: true, or UPM_FEATURES_UNIFIED_MODEL=true"
    said = f"features.unified_model is off ({subject.origin_of_flag}): upm train refuses"
    return Check(name=name, status="warn", detail=said, hint=hint)


def _configuration(subject: Subject) -> Check:
    name, error = "configuration", subject.config_error
    if isinstance(error, ConfigError):
        told = tuple(problem.as_object() for problem in error.problems)
        return Check(name=name, status="fail", detail=error.message, hint=error.hint, problems=told)
    if error is not None or subject.settings is None:
        raise error or NotFoundError("no configuration")
    trainers = len(subject.settings.supervisor.default_trainers)
    said = f"valid; {trainers} trainer{'' if trainers == 1 else 's'}; digest {subject.settings.digest()[:12]}"
    return Check(name=name, status="pass", detail=said)


def _storage_paths(subject: Subject) -> Check:
    from upm_cli.store import layout

    name = "storage_paths"
    if not subject.home.is_dir():
        raise NotFoundError(f"no folder {subject.home}", hint=f"upm init {subject.project}")
    folders = [subject.home, *(subject.home / folder for folder in layout.FOLDERS)]
    if subject.settings is not None:
        base = storage_folder(subject.project, subject.settings.snapshot_manager.base_path)
        blobs = subject.home / "blobs"
        if base.exists() and blobs.exists() and not base.samefile(blobs):
            said = f"snapshots are in {blobs.resolve()}, but snapshot_manager.base_path is {base}"
            return Check(name=name, status="fail", detail=said, hint="upm explain UPM-C031")
        folders.append(base)
    missing = [folder for folder in dict.fromkeys(folders) if not folder.is_dir()]
    if missing:
        said = f"not there: {', '.join(map(str, missing))}"
        return Check(name=name, status="fail", detail=said, hint=f"upm init {subject.project}")
    for folder in dict.fromkeys(folders):
        _probe(folder)
    free = shutil.disk_usage(subject.home).free
    said = f"{len(set(folders))} folders written to and read back; {free >> 20:,} MiB free"
    if free < LOW_DISK_BYTES:
        return Check(name=name, status="warn", detail=said, hint="free some space, or lower retention_days")
    return Check(name=name, status="pass", detail=said)


def _probe(folder: Path) -> None:
    """Write a file in `folder`, read it back, remove it."""
    from upm_cli.store import fsio

    path, data = folder / f".probe-{os.getpid()}", os.urandom(64)
    fsio.durable_write(path, data)
    try:
        if path.read_bytes() != data:
            raise IntegrityError(f"{folder} gives back other bytes than were written", hint="check the disk")
    finally:
        fsio.remove_quietly(path)


def _store(subject: Subject) -> "Store":
    from upm_cli.store.session import Store

    if not subject.home.is_dir():
        hint = f"upm init {subject.project}"
        raise NotFoundError(f"no state in {subject.home}", hint=hint, code="UPM-E041")
    return Store(subject.home, subject.clock, command="upm validate")


def _state_tables(subject: Subject) -> Check:
    from upm_cli.store import schema

    name = "state_tables"
    store = _store(subject)
    try:
        with store.read() as reader:
            found = {row["table_name"] for row in reader.query("schema.tables")}
            expected = schema.expected_tables()
            if found != expected:
                wrong = [f"{table} is missing" for table in sorted(expected - found)]
                wrong += [f"{table} is unknown" for table in sorted(found - expected)]
                said = f"{'; '.join(wrong)} in {subject.home}"
                return Check(name=name, status="fail", detail=said, hint="restore the state from a backup")
            rows = sum(row["rows"] for table in sorted(found) for row in reader.query("schema.scan", table=table))
            lost = [path for path, size in _registered(reader) if not _is_whole(subject.home / path, size)]
            generation = reader.meta.generation
    finally:
        store.close()
    if lost:
        said = f"{len(lost)} registered files are missing or cut, the first is {lost[0]}"
        return Check(name=name, status="fail", detail=said, hint="restore them from a backup")
    return Check(name=name, status="pass", detail=f"{len(found)} tables, {rows:,} rows read, generation {generation}")


def _registered(reader: "Reader") -> Iterator[tuple[str, int]]:
    """Yield the path and size of every file that the state has a row for."""
    from upm_cli.store import segments, snapshots, streams, trainers

    for stream in streams.list_all(reader):
        for kind in ("log", "names", "dead", "late"):
            for segment in segments.list_for(reader, kind, stream.name):
                yield segment.path, segment.size_bytes
    for trainer in trainers.list_all(reader):
        for segment in segments.list_for(reader, "comparisons", trainer.name):
            yield segment.path, segment.size_bytes
        for snapshot in snapshots.list_for(reader, trainer.name):
            yield snapshot.path, snapshot.size_bytes


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _migrations(subject: Subject) -> Check:
    from upm_cli.store import schema

    name = "migrations"
    store = _store(subject)
    try:
        with store.read() as reader:
            applied = [row["version"] for row in reader.query("schema.applied")]
    except InvalidError as exc:
        return Check(name=name, status="fail", detail=exc.message, hint=exc.hint)
    finally:
        store.close()
    known = [migration.version for migration in schema.migrations()]
    if applied != known:
        said = f"applied {applied}, this upm has {known}"
        return Check(name=name, status="fail", detail=said, hint="restore the state from a backup")
    return Check(name=name, status="pass", detail=f"schema {applied[-1]}, nothing pending")


def _known(name: str, run: Callable[[], list[str]], what: str) -> Callable[[Subject], Check]:
    """Return a check that compares computed answers with known ones; `run` returns what differs."""

    def check(subject: Subject) -> Check:
        wrong = run()
        if wrong:
            said = "; ".join(wrong)
            return Check(name=name, status="fail", detail=said, hint="install upm again; report this if it stays")
        return Check(name=name, status="pass", detail=what)

    return check


def _rollout_machine(subject: Subject) -> Check:
    return _explored(subject, is_quick=True)


def _every_rollout_state(subject: Subject) -> Check:
    return _explored(subject, is_quick=False)


def _explored(subject: Subject, *, is_quick: bool) -> Check:
    """Explore what a rollout under these settings can get into, looking for more exposure than was earned."""
    from upm_cli.core.rollouts.check import check
    from upm_cli.ops.rollout_policy import policy_of

    name = "rollout_machine"
    if subject.settings is None:
        return Check(name=name, status="skip", detail="the configuration can't be read")
    report = check(policy_of(subject.settings), is_quick=is_quick)
    if not report.is_sound:
        hint = "pause rollouts (upm rollout pause TRAINER) and report this with the output of upm validate --exhaustive"
        return Check(name=name, status="fail", detail=report.words(), hint=hint)
    more = "; all of them: upm validate --exhaustive" if is_quick else ""
    return Check(name=name, status="pass", detail=report.words() + more)


def _worker_health(subject: Subject) -> Check:
    from upm_cli.store import lease, runfiles

    name = "worker_health"
    statuses = runfiles.read_statuses(subject.home)
    if not statuses:
        return Check(name=name, status="skip", detail="no worker was ever started here")
    now_ms, sick = subject.clock.now_ms(), []
    alive = 0
    for status in statuses:
        worker = str(status.get("worker", "?"))
        holder = lease.holder(subject.home, str(status.get("lease", worker)))
        age_s = max(0.0, (now_ms - float(status.get("at_ms", now_ms))) / 1000)
        if holder is not None:
            alive += 1
            if age_s > STUCK_AFTER_S:
                sick.append(f"{worker} (pid {holder.pid}) has said nothing for {age_s:.0f} s")
        elif status.get("state") in ("failed", "fatal", "errored"):
            sick.append(f"{worker} failed {age_s:.0f} s ago")
    if sick:
        return Check(name=name, status="fail", detail="; ".join(sick), hint="upm status; its log is in .upm/run")
    return Check(name=name, status="pass", detail=f"{len(statuses)} known, {alive} running, none stuck or failed")


def _permissions(subject: Subject) -> Check:
    """Check that nobody but the owner can read the state: folders 0700, files 0600."""
    name = "permissions"
    if not subject.home.is_dir():
        return Check(name=name, status="skip", detail="there is no .upm folder")
    open_ones = [path for path in _walk(subject.home) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    if open_ones:
        more = f" and {len(open_ones) - 1} more" if len(open_ones) > 1 else ""
        said = f"others may read {open_ones[0]}{more}"
        return Check(name=name, status="fail", detail=said, hint=f"chmod -R go= {subject.home}")
    return Check(name=name, status="pass", detail="only the owner can read .upm")


def _keys(subject: Subject) -> Check:
    """Check that what signs can sign, and that tenants get what was signed, where that is asked for."""
    from upm_cli.ops import key_health
    from upm_cli.store import keys

    name = "keys"
    found = key_health.of_files(subject.home)
    try:
        found += [] if any(problem.status == "fail" for problem in found) else _use_of_keys(subject)
    except UpmError:
        if not found:
            return Check(name=name, status="skip", detail="the state can't be read")
    if found:
        worst = sorted(found, key=lambda problem: problem.status != "fail")
        said = "; ".join(problem.detail for problem in worst)
        return Check(name=name, status=worst[0].status, detail=said, hint=worst[0].hint)
    ring = keys.read(subject.home)
    if ring.signing is None:
        return Check(name=name, status="skip", detail="there is no key: snapshots are not signed")
    said = f"{ring.signing.keyid} signs, {len(ring.believed)} believed; what tenants get is signed"
    return Check(name=name, status="pass", detail=said)


def _use_of_keys(subject: Subject) -> "list[Problem]":
    from upm_cli.ops import key_health

    is_required = subject.settings is not None and subject.settings.snapshot_manager.require_signature
    store = _store(subject)
    try:
        with store.read() as reader:
            now_ms = subject.clock.now_ms()
            return key_health.of_use(subject.home, reader, is_required=is_required, now_ms=now_ms)
    finally:
        store.close()


def _walk(home: Path) -> Iterator[Path]:
    """Yield .upm itself, what lies directly in it, and in its keys; a closed folder closes what is below it."""
    yield home
    for path in [*home.iterdir(), *(home / "keys").glob("*")]:
        if not path.is_symlink() and path.exists():
            yield path


_CHECKS: Final[Mapping[str, Callable[[Subject], Check]]] = {
    "feature_flag": _feature_flag,
    "configuration": _configuration,
    "storage_paths": _storage_paths,
    "state_tables": _state_tables,
    "migrations": _migrations,
    "compression": _known(
        "compression", known_answers.compression, "zstd, gzip and none round trips; a flipped bit is refused"
    ),
    "drift_arithmetic": _known(
        "drift_arithmetic", known_answers.drift, "numbers, maps, keys, P95 and verdicts as they should be"
    ),
    "replay_order": _known(
        "replay_order", known_answers.replay, "order, duplicate, late arrival and late window as they should be"
    ),
    "worker_health": _worker_health,
    "rollout_machine": _rollout_machine,
    "permissions": _permissions,
    "keys": _keys,
    "policy": live_checks.policy,
    "adapters": live_checks.adapters,
    "sources": live_checks.sources,
    "notifications": live_checks.notifications,
    "backups": backup_age.backups,
    "security": security_check.security,
}

"""`upm backup`: taken, listed, proven, restored; and a restored project goes on as the one it was made from."""

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli.core import backup as names
from upm_cli.store import backupfile, fsio, ledger, schema, snapshots

Shell = Any
WINDOWS = 2000


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder for backups."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def take(shell: Shell, kept: Path, *words: str) -> Path:
    return Path(shell.json("backup", "create", "--folder", str(kept), *words)["file"])


def bring_back(shell: Shell, file: Path, name: str = "again", *words: str) -> Path:
    target = shell.folder.parent / name
    shell.json("backup", "restore", str(file), str(target), *words)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def durable(folder: Path) -> dict[str, bytes]:
    """Return all files but those of running processes."""
    return {
        name: data for name, data in contents(folder).items() if not name.startswith((".upm/run/", ".upm/state.lock"))
    }


def test_a_restored_project_learns_on_to_the_very_same_weights(trained: Shell, kept: Path, new_shell: Any) -> None:
    file = take(trained, kept)
    more = trained.write("more.jsonl", *(trained.event(WINDOWS + i) for i in range(900)))
    again = bring_back(trained, file)
    original = trained.json("train", "main", "--source", more, "--once")
    restored = new_shell(again).json("train", "main", "--source", more, "--once")
    for field in ("weights_sha256", "loss", "metrics", "log", "windows", "snapshots"):
        assert restored[field] == original[field], field
    assert original["windows"]["trained"] == WINDOWS + 900
    snapshots = [shell.json("snapshot", "list", "main")["snapshots"] for shell in (trained, new_shell(again))]
    digests = [[(row["version"], row["digest"]) for row in rows] for rows in snapshots]
    assert digests[0] == digests[1]


def test_everything_that_the_state_names_is_in_the_restored_project(trained: Shell, kept: Path, new_shell: Any) -> None:
    before = contents(trained.folder)
    again = bring_back(trained, take(trained, kept))
    after = contents(again)
    facts = [name for name in before if name.startswith((".upm/log/", ".upm/comparisons/")) or name == "upm.yaml"]
    assert facts
    assert {name: after[name] for name in facts} == {name: before[name] for name in facts}
    assert {name for name in before if name.startswith(".upm/blobs")} >= {
        n for n in after if n.startswith(".upm/blobs")
    }
    found = new_shell(again)("doctor", "--json")
    assert found.code == 0, found.out
    for path in (again, *again.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert not [name for name in after if ".lease" in name and "backup" in name]


def test_what_was_done_is_on_record_in_both_projects(trained: Shell, kept: Path) -> None:
    file = take(trained, kept, "--reason", "before the move")
    entry = ledger.read(trained.home)[-1]
    assert (entry["action"], entry["subject"], entry["details"]["reason"]) == (
        "backup.create",
        file.name,
        "before the move",
    )
    sum_of = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
    assert entry["details"]["sha256"] == sum_of
    again = bring_back(trained, file, "again", "--reason", "the old disk died")
    told = ledger.read(again / ".upm")
    assert [each["hash"] for each in told[:-1]] == [each["hash"] for each in ledger.read(trained.home)[: len(told) - 1]]
    assert (told[-1]["action"], told[-1]["details"]["file"]) == ("backup.restore", file.name)
    assert told[-1]["details"]["reason"] == "the old disk died"


def test_a_dry_run_writes_nothing_anywhere(trained: Shell, kept: Path) -> None:
    before = durable(trained.folder)
    said = trained.json("backup", "create", "--folder", str(kept), "--dry-run")
    assert (said["size_bytes"], said["sha256"], said["dry_run"]) == (None, None, True)
    assert list(kept.iterdir()) == []
    assert durable(trained.folder) == before
    file = take(trained, kept)
    target = trained.folder.parent / "again"
    told = trained.json("backup", "restore", str(file), str(target), "--dry-run")
    assert (told["restored"], told["to"]) == (False, str(target))
    assert not target.exists()


def test_it_is_private_and_has_no_private_keys_or_tokens(trained: Shell, kept: Path) -> None:
    trained.json("keys", "init", "--reason", "a")
    (pem,) = (trained.home / "keys").glob("*.pem")
    (trained.home / "keys" / "edge.token").write_text("secret")
    file = take(trained, kept)
    assert file.stat().st_mode & 0o777 == 0o600
    with backupfile.opened(file) as reader:
        held = [member.name for member in reader.members()]
    assert names.KEYS in held
    assert not [name for name in held if name.endswith((".pem", ".token"))]
    again = bring_back(trained, file)
    ran = trained("backup", "restore", str(file), str(again.with_name("told")), "-o", "table")
    assert f"the private key {pem.stem} is not in it" in ran.out
    # what was signed is believed still, and with its key the project signs again
    shutil.copy(pem, again / ".upm/keys")
    assert trained("doctor", "-C", str(again)).code == 0


def test_with_keys_they_are_in_it_and_it_says_so(trained: Shell, kept: Path) -> None:
    trained.json("keys", "init", "--reason", "a")
    ran = trained("backup", "create", "--folder", str(kept), "--with-keys", "--json")
    assert ran.json["has_keys"] is True
    assert "holds private keys" in ran.err
    again = bring_back(trained, Path(ran.json["file"]))
    (pem,) = (trained.home / "keys").glob("*.pem")
    assert (again / ".upm/keys" / pem.name).read_bytes() == pem.read_bytes()
    assert ledger.read(trained.home)[-1]["details"]["keys"] is True


def test_only_an_admin_takes_keys_along(trained: Shell, kept: Path) -> None:
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write("policy: {actors: {somebody-else: admin}}\n")
    trained.refused(5, "UPM-E051", "backup", "create", "--folder", str(kept), "--with-keys")
    assert list(kept.iterdir()) == []


def test_the_newest_are_kept_and_what_is_not_ours_stays(trained: Shell, kept: Path, fresh: Shell) -> None:
    other = take(fresh, kept)
    first, second = take(trained, kept), take(trained, kept)
    (kept / "notes.txt").write_text("mine")
    cut = kept / "project-20200101T000000Z-g1.upmbackup"
    cut.write_bytes(first.read_bytes()[:-100])
    said = trained.json("backup", "create", "--folder", str(kept), "--keep", "2", "--dry-run")
    assert said["dropped"] == [str(first)]
    assert first.exists()
    said = trained.json("backup", "create", "--folder", str(kept), "--keep", "2")
    assert said["dropped"] == [str(first)]
    assert set(kept.iterdir()) == {other, second, Path(said["file"]), cut, kept / "notes.txt"}
    rows = trained.json("backup", "list", "--folder", str(kept))["backups"]
    assert [row["whole"] for row in rows] == [False, True, True, True]
    assert "it was cut" in rows[0]["why"]


def test_folder_and_number_may_stand_in_the_settings(trained: Shell, kept: Path) -> None:
    trained.refused(2, "UPM-E192", "backup", "create")
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write("backup: {folder: ../kept, keep: 1}\n")
    for _ in range(3):
        trained.json("backup", "create")
    (only,) = kept.iterdir()
    assert trained.json("backup", "verify")["file"] == str(only)
    assert [row["file"] for row in trained.json("backup", "list")["backups"]] == [only.name]
    cron = trained.json("schedule", "show", "cron")["files"]["upm.cron"]
    assert "backup create >/dev/null || [ $? -eq 7 ]" in cron
    units = trained.json("schedule", "show", "systemd")["files"]
    assert "backup create\n" in units["upm-nightly.service"]
    assert f"-{trained.folder.parent}/kept\n" in units["upm-nightly.service"]


def test_validate_tells_when_backups_stopped(trained: Shell, kept: Path) -> None:
    def check() -> dict[str, Any]:
        (found,) = [
            each for each in json.loads(trained("validate", "--json").out)["checks"] if each["name"] == "backups"
        ]
        return dict(found)

    assert check()["status"] == "skip"
    with (trained.folder / "upm.yaml").open("a") as config:
        config.write("backup: {folder: ../kept}\n")
    assert (check()["status"], check()["hint"]) == ("warn", "upm backup create")
    file = take(trained, kept)
    assert check()["status"] == "pass"
    old = forged(file, kept / "old.upmbackup", lambda files: None, created_at="2026-01-05T08:00:00.000Z")
    assert check()["status"] == "pass"
    file.unlink()
    assert check()["status"] == "warn"
    assert "does its line in cron run?" in check()["hint"]
    old.unlink()
    kept.rmdir()
    assert check()["status"] == "fail"


def test_a_folder_inside_the_project_or_none_at_all_is_refused(trained: Shell, kept: Path) -> None:
    (trained.folder / "kept").mkdir()
    inside = kept / "link"
    inside.symlink_to(trained.folder / "kept")
    for folder in (trained.folder / "kept", trained.home, inside):
        trained.refused(2, "UPM-E192", "backup", "create", "--folder", str(folder))
    trained.refused(4, "UPM-E193", "backup", "create", "--folder", str(kept / "not-mounted"))
    assert not (kept / "not-mounted").exists()
    trained.refused(4, "UPM-E193", "backup", "list", "--folder", str(kept / "not-mounted"))


def test_a_project_that_is_damaged_gives_no_backup_and_keeps_the_old_ones(trained: Shell, kept: Path) -> None:
    good = take(trained, kept)
    segment = next((trained.home / "log/main").glob("*.arrow"))
    blob = max((trained.home / "blobs").rglob("*.zst"), key=lambda path: path.stat().st_size)
    for path in (segment, blob):
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        trained.refused(9, "UPM-E191", "backup", "create", "--folder", str(kept), "--keep", "1")
        path.rename(path.with_name("away"))
        trained.refused(9, "UPM-E191", "backup", "create", "--folder", str(kept), "--keep", "1")
        path.write_bytes(whole)
    assert list(kept.iterdir()) == [good]
    take(trained, kept, "--keep", "1")
    assert not good.exists()


def test_flipped_bytes_anywhere_are_found(trained: Shell, kept: Path, tmp_path: Path) -> None:
    file = take(trained, kept)
    whole = file.read_bytes()
    chance = random.Random(7)
    at = [*range(0, 30, 3), *range(len(whole) - 64, len(whole), 7), *chance.sample(range(len(whole)), 30)]
    for place in at:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
        trained.refused(9, "UPM-E190", "backup", "verify", str(file))
    trained.refused(9, "UPM-E190", "backup", "restore", str(file), str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()
    file.write_bytes(whole)
    assert trained.json("backup", "verify", str(file))["whole"] is True


def forged(file: Path, target: Path, change: Any, **about: Any) -> Path:
    """Write a backup that is right in itself, with what `change` makes of the files of `file`."""
    with backupfile.opened(file) as reader:
        files = {}
        for member in reader.members():
            files[member.name] = b"".join(iter(member.read, b""))
        told = reader.about
    change(files)
    sizes = {"files": len(files), "size_bytes": sum(map(len, files.values()))}
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    writer = backupfile.Writer(fd, target, type(told)(**{**_fields(told), **sizes, **about}), 0)
    for name, data in files.items():
        writer.add(name, data)
    writer.finish()
    os.close(fd)
    return target


def _fields(told: Any) -> dict[str, Any]:
    return {name: getattr(told, name) for name in type(told).__dataclass_fields__}


def _without(ending: str) -> Any:
    return lambda files: files.pop(next(name for name in files if name.endswith(ending)))


def _change_ledger(files: dict[str, bytes]) -> None:
    files[names.LEDGER] = files[names.LEDGER].replace(b'"actor":"', b'"actor":"not-', 1)


def _swap_blobs(files: dict[str, bytes]) -> None:
    one, two = [name for name in files if "/blobs/" in name][:2]
    files[one], files[two] = files[two], files[one]


def _change_segment(files: dict[str, bytes]) -> None:
    name = next(name for name in files if "/log/" in name)
    files[name] = bytes(reversed(files[name]))


@pytest.mark.parametrize(
    ("change", "about", "says"),
    [
        (_without(".zst"), {}, "is missing"),
        (_without(".arrow"), {}, "missing or another one"),
        (_without("upm.yaml"), {}, "there is no upm.yaml"),
        (_without("state.duckdb"), {}, "there is no .upm/state.duckdb"),
        (_without("ledger.jsonl"), {}, "ledger"),
        (_change_ledger, {}, "ledger"),
        (_swap_blobs, {}, "bytes that its name says"),
        (_change_segment, {}, "missing or another one"),
        (lambda files: files.update({".upm/log/main/0-1.arrow": b"x"}), {}, "nothing in its state names"),
        (lambda files: files.update({names.STATE: b"x" * 5000}), {}, "state does not open"),
        (lambda files: None, {"generation": 1}, "not the one it says"),
    ],
)
def test_a_backup_that_somebody_put_together_is_refused(
    trained: Shell, kept: Path, tmp_path: Path, change: Any, about: Mapping[str, Any], says: str
) -> None:
    trained.json("snapshot", "pin", "main", "1")
    file = forged(take(trained, kept), kept / "forged.upmbackup", change, **about)
    for words in (("verify", str(file)), ("restore", str(file), str(tmp_path / "never"))):
        ran = trained.refused(9, "UPM-E190", "backup", *words)
        assert says in ran.err
    assert not (tmp_path / "never").exists()


def test_one_that_claims_more_than_the_disk_has_is_refused_at_once(trained: Shell, kept: Path, tmp_path: Path) -> None:
    file = forged(take(trained, kept), kept / "huge.upmbackup", lambda files: None, size_bytes=1 << 60)
    ran = trained("backup", "restore", str(file), str(tmp_path / "never"))
    assert ran.code != 0
    assert "are free on the disk" in ran.err
    assert not (tmp_path / "never").exists()


def test_one_of_a_newer_upm_says_so(
    trained: Shell, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = take(trained, kept)
    older = schema.migrations()[:-1]
    monkeypatch.setattr(schema, "migrations", lambda: older)
    trained.refused(3, "UPM-E031", "backup", "verify", str(file))
    trained.refused(3, "UPM-E031", "backup", "restore", str(file), str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()


def test_nothing_is_ever_replaced(trained: Shell, kept: Path, tmp_path: Path) -> None:
    file = take(trained, kept)
    before = durable(trained.folder)
    trained.refused(2, "UPM-E194", "backup", "restore", str(file), str(trained.folder))
    assert durable(trained.folder) == before
    plain = tmp_path / "plain"
    plain.write_text("mine")
    trained.refused(2, "UPM-E194", "backup", "restore", str(file), str(plain))
    (tmp_path / "nothing").symlink_to(tmp_path / "gone")
    trained.refused(2, "UPM-E194", "backup", "restore", str(file), str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    bring_back(trained, file, "empty")
    trained.refused(2, "UPM-E194", "backup", "restore", str(file), str(tmp_path / "empty"))


def test_what_a_killed_restore_left_is_cleared_away(trained: Shell, kept: Path, tmp_path: Path) -> None:
    file = take(trained, kept)
    left = tmp_path / "again/.upm-restoring/.upm/log"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    (tmp_path / "outside").mkdir()
    (left.parents[1] / "link").symlink_to(tmp_path / "outside")
    again = bring_back(trained, file)
    assert sorted(path.name for path in again.iterdir()) == [".upm", "upm.yaml"]
    assert (tmp_path / "outside").is_dir()
    assert "half" not in " ".join(contents(again))


def test_a_restored_project_hands_nothing_to_the_agents_of_the_first(
    trained: Shell, kept: Path, new_shell: Any
) -> None:
    models = trained.folder.parent / "models"
    trained.json("adapter", "add", "edge", "--path", str(models), "--tenant", "acme", "--tenant", "bob")
    words = ("activate", "main", "2", "--to-stage", "global", "--override", "--expires", "1h", "--reason", "a")
    trained.json(*words)
    trained.json("sync", "run")
    pointers = contents(models)
    file = take(trained, kept)
    said = trained.json("backup", "restore", str(file), str(trained.folder.parent / "again"))
    again = new_shell(trained.folder.parent / "again")
    (command,) = said["adapters_left_out"]
    assert command == f"upm adapter add edge --path {models} --trainer main --tenant acme --tenant bob"
    assert again.json("adapter", "list")["adapters"] == []
    assert [each["action"] for each in ledger.read(again.home)[-2:]] == ["backup.restore", "adapter.remove"]
    again.json("rollback", "main", "--yes")
    again("sync", "run")
    assert contents(models) == pointers
    # the first one is given up: the second one takes over with the command that was printed
    assert again(*command.split()[1:]).code == 0
    told = trained.json("backup", "restore", str(file), str(trained.folder.parent / "third"), "--with-adapters")
    assert (told["adapters_left_out"], told["adapters_kept"]) == ([], ["edge"])
    rows = new_shell(trained.folder.parent / "third").json("adapter", "list")["adapters"]
    assert {row["adapter_key"] for row in rows} == {"edge"}


def test_what_upm_yaml_names_elsewhere_is_told(trained: Shell, kept: Path) -> None:
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write("notify: {webhooks: [{name: ops, url: 'http://127.0.0.1:9/x', secret_file: /etc/upm/none}]}\n")
    said = trained.json("backup", "restore", str(take(trained, kept)), str(trained.folder.parent / "again"))
    told = "\n".join(said["afterwards"])
    assert "bring along the secret of webhook ops: /etc/upm/none" in told
    assert "tells the same webhooks" in told


def test_snapshots_on_another_path_are_taken_too(fresh: Shell, kept: Path, tmp_path: Path, new_shell: Any) -> None:
    with (fresh.folder / "upm.yaml").open("a") as file:
        file.write(f"snapshot_manager: {{base_path: '{tmp_path}/models'}}\n")
    source = fresh.write("a.jsonl", *(fresh.event(i) for i in range(400)))
    fresh.json("train", "main", "--source", source, "--once")
    assert (fresh.home / "blobs").is_symlink()
    file = take(fresh, kept)
    assert not list((tmp_path / "models/held").iterdir())
    said = fresh.json("backup", "restore", str(file), str(tmp_path / "again"))
    assert "snapshot_manager.base_path says" in "\n".join(said["afterwards"])
    new_shell(tmp_path / "again").refused(3, "UPM-C031", "status")  # never two projects in one folder of snapshots
    text = (tmp_path / "again/upm.yaml").read_text().replace(f"{tmp_path}/models", ".upm/blobs")
    (tmp_path / "again/upm.yaml").write_text(text)
    assert new_shell(tmp_path / "again")("doctor").code == 0


def test_a_model_that_is_there_in_two_packings_is_taken_in_both(trained: Shell, kept: Path, new_shell: Any) -> None:
    """A setting was changed, and a snapshot came out as an earlier one: two rows, one digest, two files."""
    import gzip

    import zstandard

    row = trained.json("snapshot", "show", "main", "2")
    (packed,) = (trained.home / "blobs").rglob(f"{row['digest']}.zst")
    other = packed.with_suffix(".gz")
    raw = zstandard.ZstdDecompressor().decompress(packed.read_bytes())
    other.write_bytes(gzip.compress(raw, 6, mtime=0))
    other.chmod(0o600)
    with trained.store.write() as tx:
        (found,) = [each for each in snapshots.list_for(tx, "main") if each.version == 2]
        size, digest = other.stat().st_size, hashlib.sha256(other.read_bytes()).hexdigest()
        path = str(other.relative_to(trained.home))
        snapshots.put(tx, replace(found, path=path, codec="gzip", size_bytes=size, file_digest=digest))
    file = take(trained, kept)
    assert trained.json("backup", "verify", str(file))["whole"] is True
    again = new_shell(bring_back(trained, file))
    assert again("snapshot", "verify", "main", "--all").code == 0
    forge = forged(file, kept / "forged.upmbackup", lambda files: files.pop(f".upm/{path}"))
    assert path in trained.refused(9, "UPM-E190", "backup", "verify", str(forge)).err
    other.unlink()
    assert path in trained.refused(9, "UPM-E191", "backup", "create", "--folder", str(kept)).err


def test_one_of_an_older_upm_is_brought_up_to_date(
    new_shell: Any, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        older = schema.migrations()[:-1]
        patch.setattr(schema, "migrations", lambda: older)
        shell = new_shell(tmp_path / "old")
        shell("init", str(shell.folder))
        file = take(shell, kept)
    assert shell.json("backup", "verify", str(file))["schema"] == older[-1].version
    again = new_shell(tmp_path / "again")
    assert again("backup", "restore", str(file), str(again.folder)).code == 0
    with again.store.read() as reader:
        assert reader.meta.schema_version == schema.newest_version()


def test_a_full_disk_leaves_no_half_backup(trained: Shell, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    old = take(trained, kept)
    count = 0

    def full(operation: str, path: Path) -> None:
        nonlocal count
        count += operation == "write" and ".upmbackup" in path.name
        if count > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fsio.faults, "before", full)
    ran = trained("backup", "create", "--folder", str(kept), "--keep", "1")
    assert ran.code != 0
    assert "UPM-E010" in ran.err
    assert list(kept.iterdir()) == [old]


def test_two_at_once_are_one(trained: Shell, kept: Path) -> None:
    from upm_cli.store import lease

    with lease.acquire(trained.home, "backup", "upm backup create"):
        trained.refused(7, "UPM-E070", "backup", "create", "--folder", str(kept))
    take(trained, kept)


def test_tar_unpacks_it_where_there_is_no_upm(trained: Shell, kept: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    file = take(trained, kept)
    (tmp_path / "plain").mkdir()
    subprocess.run(["tar", "--zstd", "-xf", file, "-C", tmp_path / "plain"], check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "plain", check=True)

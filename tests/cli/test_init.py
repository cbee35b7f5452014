import json
from pathlib import Path

import pytest

from upm_cli.app import main
from upm_cli.config.load import load
from upm_cli.config.schema import Settings
from upm_cli.errors import InvalidError, NotFoundError
from upm_cli.ops.project import find_project, link_storage
from upm_cli.store import schema


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and mtime of every file below `folder`."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "state.lock"
    }


def test_init_makes_a_commented_configuration_and_a_private_state(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    code, out, err = run(capsys, "init", str(shop), "--json")
    assert code == 0
    assert json.loads(out) == {
        "schema_version": 1,
        "project": str(shop),
        "made": ["upm.yaml", ".upm"],
        "migrated": False,
        "dry_run": False,
    }
    assert f"cd {shop}" in err
    assert load(shop / "upm.yaml").settings == Settings()
    assert (shop / ".upm").stat().st_mode & 0o777 == 0o700
    assert (shop / ".upm/state.duckdb").stat().st_mode & 0o777 == 0o600
    assert run(capsys, "-C", str(shop), "validate", "-q")[0] == 0


def test_init_again_changes_nothing_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "init", str(tmp_path))[0] == 0
    (tmp_path / "upm.yaml").write_text("drift_monitor: {sample_size: 7}\n")
    before = tree(tmp_path)
    code, out, _ = run(capsys, "init", str(tmp_path), "-o", "table")
    assert code == 0
    assert "is a project already; nothing was changed" in out
    assert tree(tmp_path) == before


def test_init_keeps_a_configuration_that_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "upm.yaml").write_text("# mine\n")
    code, out, _ = run(capsys, "init", str(tmp_path), "--json")
    assert (code, json.loads(out)["made"]) == (0, [".upm"])
    assert (tmp_path / "upm.yaml").read_text() == "# mine\n"


def test_a_dry_run_of_init_makes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "init", str(tmp_path / "shop"), "--dry-run", "--json")
    assert (code, json.loads(out)["made"]) == (0, ["upm.yaml", ".upm"])
    assert list(tmp_path.iterdir()) == []


def test_init_on_a_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("a file")
    code, _, err = run(capsys, "init", str(tmp_path / "shop"))
    assert code == 1
    assert err.startswith("error[UPM-E014]")


def test_init_in_a_path_that_the_database_would_misread_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = run(capsys, "init", str(tmp_path / "a\\b" / "shop"))
    assert code == 1
    assert err.startswith("error[UPM-E014]")
    assert "backslash" in err
    assert list(tmp_path.iterdir()) == []


def test_init_where_nothing_can_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "init", "/proc/shop")
    assert code == 1
    assert err.startswith("error[UPM-E01")
    assert "Traceback" not in err


def test_the_project_is_the_nearest_folder_upwards(tmp_path: Path) -> None:
    inner = tmp_path / "shop/inbox/today"
    inner.mkdir(parents=True)
    (tmp_path / "shop/upm.yaml").write_text("")
    assert find_project(None, start=inner) == tmp_path / "shop"
    assert find_project(tmp_path / "shop") == tmp_path / "shop"
    assert find_project(tmp_path / "shop/.upm") == tmp_path / "shop"
    assert find_project(None, config=tmp_path / "shop/upm.yaml", start=tmp_path) == tmp_path / "shop"
    with pytest.raises(NotFoundError, match=r"no upm\.yaml in"):
        find_project(inner)
    with pytest.raises(NotFoundError, match="or above it"):
        find_project(None, start=tmp_path)


def test_commands_outside_a_project_say_how_to_get_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "validate")
    assert code == 4
    assert err.startswith("error[UPM-E048]")
    assert "upm init" in err


def test_the_project_may_be_named_in_the_environment(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "upm.yaml").write_text("")
    for name in ("UPM_PROJECT", "UPM_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
        assert run(capsys, "config", "path")[1] == f"{tmp_path}/upm.yaml\n"
        monkeypatch.delenv(name)


def test_a_working_directory_that_is_gone_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, _, err = run(capsys, "validate")
    assert (code, err.splitlines()[0]) == (4, "error[UPM-E048]: the working directory is gone")


def test_snapshots_may_lie_in_another_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "upm.yaml").write_text("snapshot_manager: {base_path: models}\n")
    assert run(capsys, "init", str(tmp_path))[0] == 0
    link_storage(tmp_path, "models")
    link_storage(tmp_path, "models")
    assert (tmp_path / ".upm/blobs").resolve() == tmp_path / "models"
    assert (tmp_path / "models").stat().st_mode & 0o777 == 0o700
    assert run(capsys, "-C", str(tmp_path), "validate", "-q")[0] == 0


def test_snapshots_are_never_left_behind_when_their_folder_changes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(capsys, "init", str(tmp_path))[0] == 0
    kept = tmp_path / ".upm/blobs/sha256/ab"
    kept.mkdir()
    (kept / "model.zst").write_bytes(b"x")
    with pytest.raises(InvalidError, match="base_path says"):
        link_storage(tmp_path, "models")
    assert (kept / "model.zst").exists()
    (tmp_path / ".upm/blobs").rename(tmp_path / "models")
    link_storage(tmp_path, "models")
    assert (kept / "model.zst").read_bytes() == b"x"


def test_init_brings_an_older_state_up_to_date_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "init", str(tmp_path))[0] == 0
    known = schema.migrations()
    newer = schema.Migration(version=len(known) + 1, name="more", sql="CREATE TABLE more (x INTEGER PRIMARY KEY)")
    monkeypatch.setattr(schema, "migrations", lambda: (*known, newer))
    code, _, err = run(capsys, "-C", str(tmp_path), "trainer", "list")
    assert code == 3
    assert "run upm init" in err
    assert run(capsys, "init", str(tmp_path), "-o", "table")[1] == f"brought the state of {tmp_path} up to date\n"
    assert run(capsys, "-C", str(tmp_path), "trainer", "list")[0] == 0
    assert json.loads(run(capsys, "init", str(tmp_path), "--json")[1])["migrated"] is False

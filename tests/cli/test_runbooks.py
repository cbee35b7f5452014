"""Every runbook, and the quickstart, word for word in a real shell, on a project that was broken for it."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cli.conftest import WINDOWS, event, lines
from upm_cli.app import main
from upm_cli.store import ledger

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+# exit (\d+)$")
_PRINTS = "# → "


@dataclass
class Step:
    """One command of a page: its line, the exit code it ends with, and what it prints among other things."""

    line: str
    code: int
    prints: list[str]


def steps(page: Path) -> list[Step]:
    """Return the commands of the page's sh blocks, in order."""
    found: list[Step] = []
    for indent, language, block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines() if language == "sh" else ():
            text = line.removeprefix(indent)
            if text.startswith(_PRINTS):
                found[-1].prints.append(text.removeprefix(_PRINTS))
            elif text.strip():
                code = _EXIT.search(text)
                found.append(Step(_EXIT.sub("", text), int(code[1]) if code else 0, []))
    return found


def follow(wanted: list[Step], folder: Path, env: Mapping[str, str], out: Path) -> None:
    """Run the steps in one shell, as somebody who types them; each must end and print as the page says."""
    out.mkdir()
    script = "".join(
        f'{{ {step.line}\n}} >"{out}/{i}" 2>&1; code=$?; [ $code = {step.code} ] || {{ echo {i} $code; exit 99; }}\n'
        for i, step in enumerate(wanted)
    )
    done = subprocess.run(["sh", "-uc", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    said = [path.read_text() if (path := out / str(i)).exists() else "" for i in range(len(wanted))]
    if done.returncode:
        at, code = map(int, done.stdout.split())
        pytest.fail(f"`{wanted[at].line}` ended with {code}, not {wanted[at].code}:\n{said[at]}")
    for step, text in zip(wanted, said, strict=True):
        assert "Traceback" not in text, text
        plain = " ".join(text.split())
        for prints in step.prints:
            pattern = ".*".join(re.escape(" ".join(part.split())) for part in prints.split("…"))
            assert re.search(pattern, plain), f"`{step.line}` does not print {prints!r}:\n{text}"


@pytest.fixture(scope="module")
def live(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose v4 is live, v3 before it; 300 windows wait in its inbox. Not to be changed: see `at_work`."""
    folder = tmp_path_factory.mktemp("live") / "project"
    copy(trained_project, folder)
    for version in ("3", "4"):
        words = ("activate", "main", version, "--to-stage", "global", "--override", "--expires", "1h", "--reason", "a")
        assert main([*words, "-q", "-C", str(folder)]) == 0
    (folder / "inbox").mkdir()
    (folder / "inbox/1.jsonl").write_text(lines(*(event(WINDOWS + i) for i in range(300))))
    return folder


def copy(source: Path, target: Path) -> None:
    """Copy with all times and links as they are."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@dataclass
class AtWork:
    """A project of one's own to break, to look after by the book, and to look at."""

    folder: Path
    env: Mapping[str, str]

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    def run(self, *words: str) -> None:
        assert main([*words, "-q", "-C", str(self.folder)]) == 0

    def follow(self, page: Path) -> None:
        follow(steps(page), self.folder, self.env, self.folder.parent / "out")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the state with DuckDB itself."""
        with duckdb.connect(self.home / "state.duckdb", read_only=True) as connection:
            return connection.execute(query).fetchall()

    @property
    def serving(self) -> int:
        """The version that ring global serves."""
        (newest,) = self.sql("SELECT version FROM activations WHERE ring = 'global' ORDER BY epoch DESC LIMIT 1")
        return int(newest[0])

    @property
    def actions(self) -> list[str]:
        return [str(entry["action"]) for entry in ledger.read(self.home)]


@pytest.fixture
def at_work(live: Path, tmp_path: Path, on_path: Mapping[str, str]) -> AtWork:
    copy(live, tmp_path / "project")
    return AtWork(tmp_path / "project", on_path)


def flip(path: Path) -> None:
    """Change some bytes of a file where it lies."""
    with path.open("r+b") as file:
        data = bytearray(file.read())
        for i in range(0, len(data), max(1, len(data) // 50)):
            data[i] ^= 0xFF
        file.seek(0)
        file.write(data)


def blob(home: Path, digest: str) -> Path:
    (found,) = (home / "blobs").rglob(f"{digest}*")
    return found


def test_rollback_drill(at_work: AtWork) -> None:
    before = at_work.sql("SELECT * FROM activations")
    at_work.follow(RUNBOOKS / "rollback-drill.md")
    assert at_work.sql("SELECT * FROM activations") == before
    assert at_work.actions.count("drill.rollback") == 1
    assert at_work.sql("SELECT item FROM signoffs") == [("runbook",)]


def test_quarantine(at_work: AtWork) -> None:
    turned = [event(i, label=1 - event(i)["label"]) for i in range(WINDOWS, WINDOWS + 1400)]
    bad = at_work.folder.parent / "bad.jsonl"
    bad.write_text(lines(*turned))
    at_work.run("train", "main", "--source", str(bad), "--once")
    (at_work.folder / "inbox/1.jsonl").write_text(lines(*(event(WINDOWS + 1400 + i) for i in range(1600))))
    at_work.follow(RUNBOOKS / "quarantine.md")
    barred = [version for (version,) in at_work.sql("SELECT version FROM snapshots WHERE quarantined")]
    assert min(barred) == 5  # and not v4, which was released
    assert at_work.serving == 3
    assert at_work.sql("SELECT trained FROM trainers") == [(WINDOWS + 3000,)]
    assert at_work.actions.count("snapshot.rollback") == 1
    assert at_work.actions.count("snapshot.release") == 1


def test_corrupt_state(at_work: AtWork) -> None:
    (digest,) = at_work.sql("SELECT digest FROM snapshots WHERE version = 4")[0]
    copy(at_work.folder, at_work.folder.parent / "backup")
    good = blob(at_work.home, digest).read_bytes()
    wanted = steps(RUNBOOKS / "corrupt-state.md")
    second = next(i for i, step in enumerate(wanted) if "snapshot verify" in step.line)
    damage_state(at_work.home)
    follow(wanted[:second], at_work.folder, at_work.env, at_work.folder.parent / "first")
    assert [path.name[:21] for path in at_work.home.glob("*.corrupt-*")] == ["state.duckdb.corrupt-"]
    flip(blob(at_work.home, digest))
    follow(wanted[second:], at_work.folder, at_work.env, at_work.folder.parent / "second")
    assert blob(at_work.home, digest).read_bytes() == good
    assert at_work.serving == 4
    assert at_work.sql("SELECT count(*) FROM snapshots WHERE quarantined") == [(0,)]
    assert {"state.restored", "snapshot.rollback", "snapshot.release"} <= set(at_work.actions)


def damage_state(home: Path) -> None:
    """Damage the live state and what is kept of the last commit."""
    for path in {
        each.stat().st_ino: each for each in (home / "state.duckdb", max((home / "history").glob("*")))
    }.values():
        flip(path)


def test_a_rollback_that_the_kept_state_does_not_know_stays_in_force(at_work: AtWork) -> None:
    at_work.run("rollback", "main", "--yes", "--reason", "bad")
    damage_state(at_work.home)
    wanted = steps(RUNBOOKS / "corrupt-state.md")
    going_back = wanted[: next(i for i, step in enumerate(wanted) if "--restore --yes" in step.line) + 1]
    going_back[-1].prints[1] = "has done again … snapshot.rollback main@4 … global of main serves v3; v4 is barred"
    follow(going_back, at_work.folder, at_work.env, at_work.folder.parent / "out")
    assert at_work.serving == 3
    assert at_work.sql("SELECT version FROM snapshots WHERE quarantined") == [(4,)]
    at_work.run("audit", "verify", "--recompute")


def test_a_state_that_is_gone(at_work: AtWork) -> None:
    (at_work.home / "state.duckdb").unlink()
    going_back = steps(RUNBOOKS / "corrupt-state.md")[:4]
    going_back[2].prints[1] = "every action on record is in that state"
    follow(going_back, at_work.folder, at_work.env, at_work.folder.parent / "out")
    assert at_work.serving == 4
    assert list(at_work.home.glob("*.corrupt-*")) == []


def test_full_disk(live: Path, mount_disk: Callable[[int], Path], on_path: Mapping[str, str], tmp_path: Path) -> None:
    disk = mount_disk(300)  # with less than 200 MiB free `upm doctor` fails
    copy(live, disk / "project")
    with (disk / "old-backup.tar").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while file.write(bytes(4096)):
            pass
    project = AtWork(disk / "project", on_path)
    follow(steps(RUNBOOKS / "full-disk.md"), project.folder, on_path, tmp_path / "out")
    assert (project.home / "reserve").stat().st_size == 8 << 20
    assert project.sql("SELECT trained FROM trainers") == [(WINDOWS + 300,)]
    assert project.serving == 4
    assert "snapshot.rollback" in project.actions


def test_stuck_rollout(at_work: AtWork) -> None:
    at_work.run("rollout", "start", "main")
    at_work.run("rollout", "freeze", "main", "--until", "8h", "--reason", "the database moves")
    at_work.run("rollout", "pause", "main", "--reason", "lunch")
    at_work.follow(RUNBOOKS / "stuck-rollout.md")
    assert at_work.sql("SELECT phase FROM rollouts") == [("aborted",)]
    assert at_work.serving == 4
    assert at_work.actions.count("override.withdraw") == 1


def test_key_rotation(at_work: AtWork) -> None:
    at_work.run("keys", "init", "--reason", "agents will ask for signatures")
    at_work.follow(RUNBOOKS / "key-rotation.md")
    private = list((at_work.home / "keys").glob("*.pem"))
    trusted = json.loads((at_work.folder / "trust.json").read_text())
    assert len(private) == 1
    assert private[0].stem in [key["keyid"] for key in trusted["keys"]]
    assert len(trusted["revoked"]) == 1
    assert at_work.actions.count("keys.rotate") == 2
    assert at_work.actions.count("keys.revoke") == 1


def test_worker_fatal(at_work: AtWork) -> None:
    (digest,) = at_work.sql("SELECT checkpoint_digest FROM trainers")[0]
    flip(blob(at_work.home, digest))
    at_work.follow(RUNBOOKS / "worker-fatal.md")
    assert at_work.serving == 3
    assert at_work.sql("SELECT trained FROM trainers") == [(WINDOWS + 300,)]


def test_an_adapter_that_is_errored(at_work: AtWork) -> None:
    models = at_work.folder.parent / "models"
    models.mkdir()
    at_work.run("adapter", "add", "edge", "--path", str(models))
    models.chmod(0o777)
    assert main(["sync", "run", "-q", "-C", str(at_work.folder), "--set", "adapter_sync.max_retries=0"]) == 8
    at_work.follow(ROOT / "docs/howto/adapter-errored.md")
    assert at_work.sql("SELECT status FROM adapters") == [("synced",)]
    assert at_work.actions.count("adapter.retry") == 1
    assert list(models.glob("pointers/main/_.json"))


def test_every_runbook_is_in_the_index_and_is_run_here() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    pages = {page.name for page in RUNBOOKS.glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()
    here = Path(__file__).read_text()
    assert {page for page in pages if f'RUNBOOKS / "{page}"' not in here} == set()


def test_the_pages_of_alerts_and_errors_name_runbooks_that_exist() -> None:
    texts = [path.read_text() for path in (ROOT / "upm_cli/assets/explain").glob("*.md")]
    named = {name for text in texts for name in re.findall(r"`upm help runbook ([a-z-]+)`", text)}
    assert [text for text in texts if "docs/runbooks" in text] == []
    runbooks = {page.stem for page in RUNBOOKS.glob("*.md")} | {"adapter-errored"}
    assert runbooks - named == {"README", "rollback-drill"}
    assert named <= runbooks
    assert {page.name for page in RUNBOOKS.glob("*.md") if len(page.read_text().splitlines()) > 140} == set()


@pytest.mark.slow
def test_the_quickstart_from_a_file_to_agents_and_back(tmp_path: Path, on_path: Mapping[str, str]) -> None:
    page = ROOT / "docs/quickstart.md"
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    wanted = [step for step in steps(page) if "pip install" not in step.line]
    (program,) = (block for _, language, block in _BLOCK.findall(page.read_text()) if language == "python")
    at = [step.line for step in wanted].index("python serve.py")
    wanted.insert(at, Step(f"cat > serve.py <<'END'\n{program}END", 0, []))
    follow(wanted, tmp_path, on_path, tmp_path / "out")
    with duckdb.connect(tmp_path / "shop/.upm/state.duckdb", read_only=True) as connection:
        newest = "SELECT kind FROM activations WHERE ring = 'global' ORDER BY epoch DESC LIMIT 1"
        assert connection.execute(newest).fetchall() == [("rollback",)]
        assert connection.execute("SELECT read, late FROM streams").fetchall() == [(10_200, 0)]
    told = [
        json.loads(line)
        for path in (tmp_path / "shop/served").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert [one["type"] for one in told].count("ai.upm.outcome") == 200

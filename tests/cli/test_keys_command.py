"""`upm keys` and `upm snapshot sign` through the front door, and what they need."""

import json
import subprocess
import sys
from base64 import b32encode, b64encode, urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from upm_cli import actors, ed25519
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import pem
from upm_cli.core.delivery.keyring import Keyring, switched, with_next
from upm_cli.core.delivery.trust import read_trust
from upm_cli.store import keys as files
from upm_cli.store import snapshots

ME = actors.current()
Paced = Any
Shell = Any
REQUIRED = "snapshot_manager: {require_signature: true}\n"
SEED = bytes(range(100, 132))
#: What every command that works with keys asks for, and how it fails without the package.
NEEDS_PACKAGE = [
    ("keys", "init"),
    ("keys", "rotate", "--reason", "x", "--yes"),
    ("keys", "rotate", "--prepare"),
    ("snapshot", "sign", "main", "1"),
    ("snapshot", "sign", "--all"),
]


def plant(home: Path) -> str:
    """Give the project a signing key that is known, and return its id."""
    public = ed25519.public_of(SEED)
    files.write(home, switched(with_next(Keyring(), ed25519.key_id(public), public, 1_800_000_000_000)))
    files.write_seed(home, SEED)
    return ed25519.key_id(public)


def signature_states(project: Any) -> dict[int, str]:
    return {row["version"]: row["signature"] for row in project.json("snapshot", "list", "main")["snapshots"]}


def test_the_life_of_keys(paced: Paced, tmp_path: Path) -> None:
    assert paced("keys", "list", "-o", "table").err == "there is no key: upm keys init\n"
    made = paced.json("keys", "init", "--reason", "agents will ask")
    assert (made["signed"], made["changed"], made["before"]) == (["main@1", "main@2"], True, None)
    assert paced.json("keys", "init")["changed"] is False
    coming = paced.json("keys", "rotate", "--prepare", "--reason", "a year is over")
    assert (coming["changed"], coming["before"]) == (True, made["keyid"])
    done = paced.json("keys", "rotate", "--from", made["keyid"], "--reason", "a year is over", "--yes")
    assert (done["keyid"], done["before"], done["signed"]) == (coming["keyid"], made["keyid"], ["main@2"])
    assert paced.json("keys", "rotate", "--from", made["keyid"], "--reason", "again", "--yes")["changed"] is False
    gone = paced.json("keys", "revoke", made["keyid"][:6], "--reason", "the tape was lost", "--yes")
    assert (gone["unsigned"], gone["serving"]) == (["main@1"], [])
    rows = paced.json("keys", "list")["keys"]
    assert [(row["state"], row["private_key"], row["reason"]) for row in rows] == [
        ("revoked", "gone", "the tape was lost"),
        ("signing", "kept", None),
    ]
    assert signature_states(paced) == {1: "revoked", 2: "signed"}
    assert paced.json("snapshot", "sign", "main", "1")["signed"] == ["main@1"]
    assert signature_states(paced) == {1: "signed", 2: "signed"}
    written = paced.json("keys", "export", str(tmp_path / "trust.json"))
    assert (written["keys"], written["revoked"]) == (1, 1)
    trust = read_trust((tmp_path / "trust.json").read_bytes(), ed25519.key_id)
    assert (set(trust.keys), trust.revoked) == ({done["keyid"]}, {made["keyid"]})
    assert paced("keys", "export").out == canonical_json(trust.to_json()) + "\n"
    told = [entry["action"] for entry in paced.ledger() if entry["action"].partition(".")[0] == "keys"]
    assert told == ["keys.init", "keys.prepare", "keys.rotate", "keys.revoke"]
    assert paced("audit", "verify", "--recompute").code == 0


def test_people_read_what_was_done_and_what_comes_next(paced: Paced) -> None:
    def say(*words: str) -> str:
        ran = paced(*words, "-o", "table")
        assert ran.code == 0, ran.err
        return str(ran.out)

    assert say("keys", "init", "--dry-run").startswith("would make key (new); would sign 2 snapshots")
    old = paced.json("keys", "init")["keyid"]
    assert f"{old} signs already" in say("keys", "init")
    assert "in the place of" in say("keys", "rotate", "--reason", "x", "--dry-run")
    assert "would make the key that signs after" in say("keys", "rotate", "--prepare", "--dry-run")
    assert "is ready to sign" in say("keys", "rotate", "--prepare")
    assert "was already ready to sign" in say("keys", "rotate", "--prepare")
    rotated = say("keys", "rotate", "--reason", "x", "--yes")
    assert f"upm keys revoke {old}" in rotated
    assert "upm keys export trust.json" in rotated
    assert "nothing changed" in say("keys", "rotate", "--from", old, "--reason", "x")
    assert "would revoke" in say("keys", "revoke", old, "--reason", "x", "--dry-run")
    assert "unsigned from now on: 1 snapshot" in say("keys", "revoke", old, "--reason", "x", "--yes")
    assert "nothing changed" in say("keys", "revoke", old, "--reason", "x")
    listed = say("keys", "list")
    assert "● signing" in listed
    assert "✗ revoked" in listed
    assert "signed 1 with" in say("snapshot", "sign", "--all")
    assert "signed 0 with" in say("snapshot", "sign", "main", "--all")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("keys", "rotate", "--reason", "x"), 2, "UPM-E022"),
        (("keys", "revoke", "OLD", "--reason", "x"), 2, "UPM-E022"),
        (("keys", "rotate", "--yes"), 2, "UPM-E029"),
        (("keys", "revoke", "OLD", "--yes"), 2, "UPM-E029"),
        (("keys", "revoke", "SIGNING", "--reason", "x", "--yes"), 5, "UPM-E114"),
        (("keys", "revoke", "0123", "--reason", "x", "--yes"), 4, "UPM-E113"),
        (("snapshot", "sign", "main", "1", "--all"), 2, "UPM-E029"),
        (("snapshot", "sign", "main", "99"), 4, "UPM-E044"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_can_not_be_done_says_why(paced: Paced, words: tuple[str, ...], code: int, error: str) -> None:
    old = paced.json("keys", "init")["keyid"]
    signing = paced.json("keys", "rotate", "--reason", "x", "--yes")["keyid"]
    found, told = paced.error(*({"OLD": old, "SIGNING": signing}.get(word, word) for word in words))
    assert (found, told["code"], bool(told["hint"])) == (code, error, True)


def test_keys_are_for_admins(paced: Paced) -> None:
    old = paced.json("keys", "init")["keyid"]
    one_trainer, roles = paced.config.splitlines()[0], f"policy: {{actors: {{{ME}: operator}}}}"
    paced.write(f"{one_trainer}\n{roles}\n")
    changing = [
        ("keys", "init"),
        ("keys", "rotate", "--reason", "x", "--yes"),
        ("keys", "rotate", "--prepare"),
        ("keys", "revoke", old, "--reason", "x", "--yes"),
        ("snapshot", "sign", "main", "1"),
    ]
    for words in changing:
        code, told = paced.error(*words)
        assert (code, told["code"], told["context"]["gate"]) == (5, "UPM-E051", "policy"), words
    assert paced("keys", "list").code == paced("keys", "export").code == 0


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package cryptography is not installed."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)


@pytest.mark.usefixtures("no_package")
def test_without_the_package_everything_but_signing_works(paced: Paced) -> None:
    for words in NEEDS_PACKAGE[:1]:
        code, told = paced.error(*words)
        assert (code, told["code"], told["hint"]) == (2, "UPM-E110", "pip install 'upm[sign]'")
    assert not (paced.folder / ".upm/keys/keys.json").exists()
    paced.learn()
    for words in (("snapshot", "list"), ("snapshot", "show"), ("snapshot", "verify", "--all"), ("keys", "list")):
        assert paced(*words).code == 0, words
    assert paced("validate").code == 0
    assert paced("activate", "main", "1", "--to-stage", "shadow").code == 0


def test_without_the_package_a_project_with_keys_says_what_it_can_not_do(
    paced: Paced, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    old = paced.json("keys", "init")["keyid"]
    paced.json("keys", "rotate", "--reason", "x", "--yes")
    paced.serve(1)
    paced.serve(2)
    request.getfixturevalue("no_package")
    for words in NEEDS_PACKAGE[1:]:
        code, told = paced.error(*words)
        assert (code, told["code"], told["hint"]) == (2, "UPM-E110", "pip install 'upm[sign]'"), words
    paced.learn()
    assert signature_states(paced) == {1: "unchecked", 2: "unchecked", 3: "unsigned"}
    assert [row["snapshots"] for row in paced.json("keys", "list")["keys"]] == [2, 1]
    verified = paced.json("snapshot", "verify", "--all")
    assert (verified["passed"], verified["failed"]) == (3, 0)
    assert paced.json("snapshot", "export", "1", "--to", str(tmp_path / "out"))["envelope"] is not None
    assert len(paced.json("keys", "export")["keys"]) == 2
    checks = {each["name"]: each for each in json.loads(paced("validate", "--json").out)["checks"]}
    assert (checks["keys"]["status"], checks["keys"]["hint"]) == ("fail", "pip install 'upm[sign]'")
    found = {each["name"]: each["status"] for each in json.loads(paced("doctor", "--json").out)["findings"]}
    assert (found["keys"], found["signatures"]) == ("fail", "warn")
    assert paced.json("keys", "revoke", old, "--reason", "x", "--yes")["unsigned"] == ["main@1"]
    paced.write(paced.config + REQUIRED)
    assert paced.error("snapshot", "verify", "--all")[1]["hint"] == "pip install 'upm[sign]'"
    code, told = paced.error("activate", "main", "1", "--to-stage", "canary")
    gates = {each["gate"]: each for each in told["context"]["gates"]}
    assert (code, gates["signature"]["signature"]) == (5, "unchecked")
    assert paced("rollback", "main", "--yes", "--reason", "x").code == 0


def forms(secret: bytes) -> set[bytes]:
    """Return the ways in which a secret could be written down."""
    body = pem.private_pem(secret).split(b"\n")[1]
    encoded = [encode(secret).rstrip(b"=")[:-1] for encode in (b64encode, urlsafe_b64encode, b32encode)]
    return {secret, secret.hex().encode(), repr(secret).encode()[2:-1], body, *encoded}


def test_the_private_key_is_nowhere_but_in_its_file(paced: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    home = paced.folder / ".upm"
    keyid = plant(home)
    paced.write(paced.config + REQUIRED)
    said = []

    def run(*words: str) -> None:
        ran = paced(*words, "-vv", "-o", "json" if len(said) % 4 else "table")
        said.extend([ran.out, ran.err])

    for words in [
        ("keys", "list"),
        ("keys", "init"),
        ("keys", "export"),
        ("snapshot", "sign", "--all", "--reason", "x"),
        ("snapshot", "show", "main", "1"),
        ("snapshot", "verify", "--all"),
        ("snapshot", "export", "main", "1", "--to", str(paced.folder / "out")),
        ("activate", "main", "1", "--to-stage", "canary"),
        ("validate",),
        ("doctor",),
        ("status",),
        ("audit", "list"),
        ("config", "show"),
    ]:
        run(*words)
    paced.learn()
    sign, locked = ed25519.sign, []

    def crash(seed: bytes, message: bytes) -> bytes:
        assert seed == SEED
        locked.append(seed)
        raise RuntimeError("a bug while the key is at hand")

    monkeypatch.setattr(ed25519, "sign", crash)
    paced.json("keys", "rotate", "--prepare", "--dry-run")
    with paced.store as store, store.write() as tx:
        snapshots.sign(tx, [replace(snapshots.get(tx, "main", 1), signatures=())])
    run("snapshot", "sign", "main", "1")
    assert locked  # it did crash, with the key in its hands
    monkeypatch.setattr(ed25519, "sign", sign)
    (home / f"keys/{keyid}.pem").chmod(0o644)
    run("snapshot", "sign", "main", "1")
    (home / f"keys/{keyid}.pem").write_bytes(pem.private_pem(SEED)[:-40])
    run("snapshot", "sign", "main", "1")
    (home / f"keys/{keyid}.pem").unlink()
    assert list((home / "crash").iterdir())
    places = {path: path.read_bytes() for path in paced.folder.rglob("*") if path.is_file()}
    places[Path("what was said")] = "".join(said).encode()
    with duckdb.connect(str(home / "state.duckdb"), read_only=True) as state:
        tables = [name for (name,) in state.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = [state.execute(f"SELECT * FROM {name}").fetchall() for name in tables]
    places[Path("the tables")] = repr(rows).encode()
    assert keyid.encode() in places[Path("the tables")]
    found = [(path, form) for path, data in places.items() for form in forms(SEED) if form in data]
    assert found == []


@pytest.mark.slow
def test_a_worker_signs_what_it_learns(trained: Shell) -> None:
    keyid = trained.json("keys", "init", "--no-sign-existing")["keyid"]
    source = trained.write("more.jsonl", *(trained.event(i) for i in range(2000, 2400)))
    made = trained.json("train", "main", "--source", source, "--once")["snapshots"]
    rows = {row["version"]: row["signed_by"] for row in trained.json("snapshot", "list", "main")["snapshots"]}
    assert made
    assert {rows[version] for version in made} == {keyid}
    assert {by for version, by in rows.items() if version not in made} == {None}


def test_a_key_made_by_openssl_can_take_the_place_of_one(paced: Paced) -> None:
    """The file is an ordinary one: openssl reads it, and what it writes from it is the same key."""
    keyid = paced.json("keys", "init")["keyid"]
    path = paced.folder / f".upm/keys/{keyid}.pem"
    done = subprocess.run(["openssl", "pkey", "-in", str(path)], capture_output=True, check=True)
    path.write_bytes(done.stdout)
    paced.learn()
    assert signature_states(paced)[3] == "signed"

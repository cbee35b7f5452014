"""Signatures where snapshots are looked at, let through and handed out; verified by OpenSSL and securesystemslib."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from upm_cli.ops import rollout
from upm_cli.store import keys as files
from upm_cli.store import snapshots

ROOT = Path(__file__).resolve().parents[2]
Paced = Any
REQUIRED = "snapshot_manager: {require_signature: true}\n"
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def tamper(paced: Paced, version: int, **more: Any) -> None:
    """Write into the row of a snapshot, as somebody who may write the state could."""
    with paced.store as store, store.write() as tx:
        row = snapshots.get(tx, "main", version)
        (signature, *_) = row.signatures
        snapshots.put(tx, replace(row, signatures=({**signature, **more},)))


def of(paced: Paced, *words: str) -> dict[int, tuple[str, str | None]]:
    found = json.loads(paced(*words, "--json").out)
    rows = found["snapshots" if "snapshots" in found else "verified"]
    return {row["version"]: (row["signature"], row["signed_by"]) for row in rows}


def refused(paced: Paced, *words: str) -> dict[str, Any]:
    """Run an activation that must be refused; return what each gate said."""
    code, error = paced.error("activate", "main", *words)
    assert (code, error["code"]) == (5, "UPM-E051")
    return {gate["gate"]: gate for gate in error["context"]["gates"]}


def test_every_listing_tells_whether_a_snapshot_is_signed_and_by_whom(paced: Paced) -> None:
    assert of(paced, "snapshot", "list", "main") == {1: ("unsigned", None), 2: ("unsigned", None)}
    old = paced.json("keys", "init")["keyid"]
    paced.learn()
    new = paced.json("keys", "rotate", "--reason", "x", "--yes")["keyid"]
    paced.json("keys", "revoke", old, "--reason", "x", "--yes")
    tamper(paced, 2, sig=base64.b64encode(bytes(64)).decode(), keyid=new)
    expected = {1: ("revoked", old), 2: ("invalid", new), 3: ("signed", new)}
    assert of(paced, "snapshot", "list", "main") == of(paced, "snapshot", "verify", "--all") == expected
    shown = paced.json("snapshot", "show", "main", "2")
    assert (shown["signature"], shown["signed_by"], shown["signatures"][0]["keyid"]) == ("invalid", new, new)
    (paced.folder / ".upm/keys/keys.json").unlink()
    assert of(paced, "snapshot", "list", "main")[3] == ("unknown", new)
    (paced.folder / ".upm/keys/keys.json").write_bytes(b"x")
    assert of(paced, "snapshot", "list", "main")[3] == ("unchecked", None)


def test_verifying_ends_with_9_for_a_changed_signature_and_for_a_missing_one_where_it_is_asked_for(
    paced: Paced,
) -> None:
    assert paced("snapshot", "verify", "--all").code == 0
    paced.write(paced.config + REQUIRED)
    ran = paced("snapshot", "verify", "--all")
    assert (ran.code, ran.err.count("unsigned; snapshot_manager.require_signature is on")) == (9, 2)
    paced.json("keys", "init")
    assert paced("snapshot", "verify", "--all").code == 0
    paced.write(paced.config)
    other = paced.json("snapshot", "show", "main", "1")["signatures"][0]["sig"]
    tamper(paced, 2, sig=other)
    ran = paced("snapshot", "verify", "main", "2")
    assert (ran.code, "the signature is not what" in ran.err) == (9, True)
    found = {each["name"]: each for each in json.loads(paced("doctor", "--json").out)["findings"]}
    assert (found["signatures"]["status"], "main@2" in found["signatures"]["detail"]) == ("fail", True)
    (paced.folder / ".upm/keys/keys.json").write_bytes(b"x")
    paced.write(paced.config + REQUIRED)
    assert paced.error("snapshot", "verify", "--all")[1]["code"] == "UPM-E112"


def test_with_signatures_asked_for_tenants_get_nothing_unsigned(paced: Paced) -> None:
    paced.prove(first_seq=0, windows=1000)
    paced.write(paced.config + REQUIRED)
    assert paced("activate", "main", "2", "--to-stage", "shadow").code == 0
    said = refused(paced, "2", "--to-stage", "canary")["signature"]
    assert (said["signature"], said["require_signature"]) == ("unsigned", True)
    assert "upm snapshot sign main 2" in said["satisfy"]
    assert not refused(paced, "2", "--to-stage", "canary", "--override", "--reason", "now")["signature"]["allowed"]
    assert paced.error("gate", "override", "signature", "main", "--reason", "x")[1]["code"] == "UPM-E059"
    keyid = paced.json("keys", "init")["keyid"]
    tamper(paced, 2, sig=base64.b64encode(bytes(64)).decode())
    assert refused(paced, "2", "--to-stage", "canary")["signature"]["signature"] == "invalid"
    paced.json("snapshot", "sign", "main", "2")
    done = paced.json("activate", "main", "2", "--to-stage", "canary")
    assert {gate["gate"]: gate["detail"] for gate in done["gates"]}["signature"] == f"main@2 is signed by {keyid}"
    assert paced("audit", "verify", "--recompute").code == 0
    recorded = [entry for entry in paced.ledger() if entry["action"] in ("snapshot.refuse", "snapshot.activate")]
    facts = [entry["details"]["inputs"]["candidate"]["signature"] for entry in recorded]
    assert [each["state"] for each in facts] == ["unsigned", "unsigned", "unsigned", "invalid", "signed"]


def test_checking_the_gates_asks_for_the_signature(paced: Paced) -> None:
    paced.write(paced.config + REQUIRED)
    ran = paced("gate", "check", "main", "2", "--to-stage", "canary", "--json")
    said = {gate["gate"]: gate["says"] for gate in json.loads(ran.out)["gates"]}
    assert (ran.code, said["signature"], said["bytes"]) == (5, "no", "yes")
    assert paced.json("gate", "explain", "signature")["gates"][0]["overridable"] is False


def look(paced: Paced, days: int) -> tuple[int, list[str]]:
    """Let days pass and look at the rollout twice; return its stage and what it waits for."""
    paced.clock.advance(days * 86_400)
    with paced.store as store:
        for _ in range(2):
            paced._prove(store)
            looked = rollout.tick(store, paced.clock, paced.settings, "main")
    assert looked is not None
    assert looked.state is not None
    return looked.state.stage, [] if looked.hold is None else [gate.gate for gate in looked.hold.gates]


def test_a_rollout_waits_at_each_step_for_a_signature(paced: Paced) -> None:
    paced.serve(1)
    paced.write(paced.config + REQUIRED)
    paced.json("rollout", "start", "main", "2")
    look(paced, 15)
    assert look(paced, 15) == (0, ["signature"])
    old = paced.json("keys", "init")["keyid"]
    assert look(paced, 0) == (1, ["hold"])
    paced.json("keys", "rotate", "--reason", "stolen", "--yes")
    with paced.store as store, store.write() as tx:  # as if it had been signed by the old key alone
        row = snapshots.get(tx, "main", 2)
        snapshots.sign(tx, [replace(row, signatures=row.signatures[1:])])
    gone = paced.json("keys", "revoke", old, "--reason", "stolen", "--yes")
    assert (gone["unsigned"], gone["serving"]) == (["main@2"], ["main@2"])
    assert look(paced, 1) == (1, ["signature"])
    said = {gate["gate"]: gate for gate in paced.json("rollout", "status", "main")["gates"]}
    assert said["signature"]["detail"] == f"main@2 is signed by {old}, which is revoked"
    assert paced.error("rollout", "promote", "main", "--yes", "--reason", "now")[1]["context"]["gate"] == "signature"
    paced.json("snapshot", "sign", "--all")
    assert look(paced, 0) == (2, ["hold"])
    assert paced("audit", "verify", "--recompute").code == 0


def test_a_rollback_goes_where_it_would_and_says_that_agents_may_not_follow(paced: Paced) -> None:
    paced.serve(1)
    paced.serve(2)
    paced.write(paced.config + REQUIRED)
    paced.json("keys", "init", "--no-sign-existing")
    planned = paced.json("rollback", "main", "--dry-run", "--reason", "worse")
    assert (planned["to_version"], planned["agents_refuse"]) == (1, "unsigned")
    ran = paced("rollback", "main", "--yes", "--reason", "worse")
    assert ran.code == 0
    assert "upm snapshot sign main 1" in ran.err
    assert paced("audit", "verify", "--recompute").code == 0


@pytest.mark.parametrize("how", ["no keys", "signed", "damaged list"])
def test_a_rollback_to_what_agents_take_says_nothing(paced: Paced, how: str) -> None:
    paced.serve(1)
    paced.serve(2)
    if how != "no keys":
        paced.json("keys", "init")
    if how == "damaged list":
        (paced.folder / ".upm/keys/keys.json").write_bytes(b"x")
    ran = paced("rollback", "main", "--yes", "--reason", "worse", "--json")
    assert (ran.code, json.loads(ran.out)["agents_refuse"], ran.err) == (0, None, "")


def test_validate_names_what_tenants_get_unsigned(paced: Paced) -> None:
    paced.serve(2)
    paced.write(paced.config + REQUIRED)

    def said() -> tuple[str, str, str]:
        checks = {each["name"]: each for each in json.loads(paced("validate", "--json").out)["checks"]}
        return checks["keys"]["status"], checks["keys"]["detail"], checks["keys"]["hint"]

    assert said() == ("fail", "snapshot_manager.require_signature is on, and there is no key", "upm keys init")
    keyid = paced.json("keys", "init", "--no-sign-existing")["keyid"]
    status, detail, hint = said()
    assert (status, hint) == ("fail", "upm snapshot sign --all")
    assert detail.startswith("tenants get what no believed key has signed: main@2 is unsigned; a rollback may need")
    paced.json("snapshot", "sign", "--all")
    assert said() == ("pass", f"{keyid} signs, 1 believed; what tenants get is signed", "")
    (paced.folder / f".upm/keys/{keyid}.pem").unlink()
    status, detail, hint = said()
    assert (status, "is missing" in detail, "upm keys rotate" in hint) == ("fail", True, True)
    made = paced("snapshot", "create", "main")
    assert made.code == 0


def test_taking_a_snapshot_tells_why_it_is_not_signed(trained: Any) -> None:
    keyid = trained.json("keys", "init")["keyid"]
    (trained.folder / f".upm/keys/{keyid}.pem").unlink()
    with trained.store.write() as tx:
        for row in snapshots.list_for(tx, "main"):  # nothing stands on what was learned: a new one is made
            snapshots.put(tx, replace(row, checkpoint_digest=None))
    ran = trained("snapshot", "create", "main", "--json")
    assert (ran.code, json.loads(ran.out)["signature"]) == (0, "unsigned")
    assert "is not signed: " in ran.err
    assert "upm keys rotate" in ran.err


def exported(paced: Paced, folder: Path, version: str = "2") -> dict[str, Any]:
    found: dict[str, Any] = paced.json("snapshot", "export", "main", version, "--to", str(folder))
    return found


def test_securesystemslib_verifies_what_is_exported(paced: Paced, tmp_path: Path) -> None:
    keyid = paced.json("keys", "init")["keyid"]
    done = exported(paced, tmp_path)
    assert (done["signature"], done["signed_by"]) == ("signed", keyid)
    (line,) = Path(done["envelope"]).read_text().splitlines()
    envelope = Envelope.from_dict(json.loads(line))
    public = json.loads(paced("keys", "export").out)["keys"][0]["public"]
    key = SSlibKey(keyid, "ed25519", "ed25519", {"public": base64.b64decode(public).hex()})
    assert set(envelope.verify([key], 1)) == {keyid}
    statement = json.loads(envelope.payload)
    model = Path(done["model"]).read_bytes()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "main@2", "digest": {"sha256": hashlib.sha256(model).hexdigest()}}]
    about = Path(done["manifest"]).read_text()
    assert statement["predicate"] == json.loads(about)["manifest"]
    assert about == json.dumps(json.loads(about), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    envelope.payload = envelope.payload.replace(b"main@2", b"main@3")
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


@OPENSSL
@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_commands_in_the_docs_verify_what_is_exported(paced: Paced, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/howto/keys.md").read_text(), re.MULTILINE | re.DOTALL)
    keyid = paced.json("keys", "init")["keyid"]
    exported(paced, tmp_path)
    script = block.replace("3f2a90c1d4e5b677", keyid).replace("main-v0042", "main-v0002")

    def run() -> tuple[int, str]:
        done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout

    assert run() == (0, "Signature Verified Successfully\nmain-v0002.safetensors: OK\n")
    envelope = tmp_path / "main-v0002.intoto.jsonl"
    plain = json.loads(envelope.read_text())
    payload = base64.b64decode(plain["payload"]).replace(b"main@2", b"main@3")
    envelope.write_text(json.dumps({**plain, "payload": base64.b64encode(payload).decode()}))
    assert run()[0] != 0


@OPENSSL
def test_openssl_verifies_the_signature_over_the_pae(paced: Paced, tmp_path: Path) -> None:
    keyid = paced.json("keys", "init")["keyid"]
    done = exported(paced, tmp_path)
    plain = json.loads(Path(done["envelope"]).read_text())
    payload, kind = base64.b64decode(plain["payload"]), plain["payloadType"].encode()
    (tmp_path / "pae").write_bytes(b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload]))
    (tmp_path / "sig").write_bytes(base64.b64decode(plain["signatures"][0]["sig"]))
    assert [Path(path).name for path in done["public_keys"]] == [f"{keyid}.pub.pem"]
    words = ["-verify", "-rawin", "-pubin", "-inkey", done["public_keys"][0], "-in", "pae", "-sigfile", "sig"]
    ran = subprocess.run(["openssl", "pkeyutl", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "Signature Verified Successfully\n")


def test_an_export_hands_out_only_what_counts(paced: Paced, tmp_path: Path) -> None:
    assert exported(paced, tmp_path)["envelope"] is None
    old = paced.json("keys", "init")["keyid"]
    new = paced.json("keys", "rotate", "--reason", "x", "--yes")["keyid"]
    done = exported(paced, tmp_path)
    assert [Path(path).name for path in done["public_keys"]] == [f"{new}.pub.pem", f"{old}.pub.pem"]
    assert exported(paced, tmp_path / "one", "1")["signed_by"] == old
    paced.json("keys", "revoke", old, "--reason", "x", "--yes")
    signed = json.loads(Path(exported(paced, tmp_path)["envelope"]).read_text())["signatures"]
    assert [each["keyid"] for each in signed] == [new]
    bare = exported(paced, tmp_path / "one", "1")
    assert (bare["envelope"], bare["public_keys"], bare["signature"]) == (None, [], "revoked")
    assert not (tmp_path / "one/main-v0001.intoto.jsonl").exists()
    tamper(paced, 2, sig=base64.b64encode(bytes(64)).decode())
    code, error = paced.error("snapshot", "export", "main", "2", "--to", str(tmp_path))
    assert (code, error["code"]) == (9, "UPM-E116")
    ring = files.read(paced.folder / ".upm")
    assert [each.keyid for each in ring.believed] == [new]

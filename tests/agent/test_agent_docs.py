"""What the documentation shows works, and is enough to write an agent of one's own."""

import base64
import gzip
import hashlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from upm_cli.agent import Agent
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import pointer as pointers
from upm_cli.testing import key_of, trust_file

ROOT = Path(__file__).resolve().parents[2]
HOWTO = (ROOT / "docs/howto/agents.md").read_text()
REFERENCE = (ROOT / "docs/reference/delivery.md").read_text()
Site = Any


def test_the_lines_of_the_howto_run_as_they_stand(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(site.folder / "state"))
    publisher = site.publisher(tenant="acme", seeds=(key_of("a"),))
    site.publish(publisher)
    trust_file(site.folder / "trust.json", key_of("a"))
    here = {"/srv/models": site.root, "/etc/upm/trust.json": site.folder / "trust.json", "/var/log/upm": site.folder}
    blocks = re.findall(r"^```python\n(.*?)^```", HOWTO, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    opened = []
    real = Agent.open

    def noted(*args: Any, **more: Any) -> Agent:
        opened.append(real(*args, **more))
        return opened[-1]

    monkeypatch.setattr(Agent, "open", noted)
    for block in blocks:
        if "https://" in block:
            continue
        for shown, real_path in here.items():
            block = block.replace(shown, str(real_path))
        exec(compile(block, "docs/howto/agents.md", "exec"), names)
    assert names["made"].version == 1
    assert names["health"].is_ok
    assert len(names["many"]) == 2
    assert len(opened) == 3
    for agent in opened:
        agent.close()
    assert (
        len((site.folder / "predictions-").parent.glob("predictions-*.jsonl").__next__().read_text().splitlines()) == 2
    )


def test_the_pointer_of_the_reference_is_one() -> None:
    block = next(each for each in re.findall(r"```json\n(.*?)```", REFERENCE, re.DOTALL) if '"lowers_from"' in each)
    found = pointers.decode(canonical_json(json.loads(block)).encode())
    assert (found.version, found.place.serial, found.tenant) == (42, 345, "acme")


# An agent written from the reference alone: nothing of upm is used below but to compare


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def believed(trust: dict[str, Any], kind: str, payload: bytes, signatures: list[dict[str, str]]) -> bool:
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    keys = {key["keyid"]: base64.b64decode(key["public"]) for key in trust["keys"]}
    for signature in signatures:
        public = keys.get(signature["keyid"])
        if public and hashlib.sha256(public).hexdigest()[:16] == signature["keyid"]:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["sig"]), message)
            except Exception:
                continue
            return True
    return False


def hash64(name: str) -> int:
    mask, data = (1 << 64) - 1, name.encode()
    h = len(data) * 0x9E3779B97F4A7C15 & mask
    for at in range(0, len(data), 8):
        h = (h ^ int.from_bytes(data[at : at + 8], "little")) * 0xD6E8FEB86659FD93 & mask
        h ^= h >> 32
    h = h * 0xC2B2AE3D27D4EB4F & mask
    return h ^ (h >> 29)


def probability(root: Path, trust: dict[str, Any], tenant: str, numbers: dict[str, float]) -> float:
    """Return what the live model of `tenant` says of a window of numbers."""
    slug = f"t-{hashlib.sha256(tenant.encode()).hexdigest()[:32]}" if tenant else "_"
    envelope = json.loads((root / "pointers/main" / f"{slug}.json").read_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert believed(trust, "application/vnd.upm.pointer+json", payload, envelope["signatures"])
    pointer = json.loads(payload)
    assert (canonical(pointer), pointer["trainer"], pointer["tenant"]) == (payload, "main", tenant)
    stored = (root / "models" / f"{pointer['digest']}.gz").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == pointer["model"]["file_digest"]
    raw = gzip.decompress(stored)
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (pointer["model"]["raw_bytes"], pointer["digest"])
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    manifest = json.loads(header["__metadata__"]["manifest"])
    statement = canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": f"main@{pointer['version']}", "digest": {"sha256": pointer["digest"]}}],
            "predicateType": "urn:upm:snapshot:v1",
            "predicate": manifest,
        }
    )
    assert believed(trust, "application/vnd.in-toto+json", statement, pointer["snapshot_signatures"])

    def tensor(name: str, letter: str) -> tuple[Any, ...]:
        begin, end = header[name]["data_offsets"]
        return struct.unpack(f"<{(end - begin) // 4}{letter}", data[begin:end])

    slots = tensor("slots", "I")
    weights = dict(zip(slots, tensor("weights", "f"), strict=True))
    limits = dict(zip(slots, tensor("limits", "f"), strict=True))
    margin = weights[1 << manifest["model"]["bits"]] * min(1, limits[1 << manifest["model"]["bits"]])
    for name, value in numbers.items():
        slot = hash64(name) % (1 << manifest["model"]["bits"])
        if slot in weights:
            margin += weights[slot] * max(-limits[slot], min(limits[slot], value))
    return 1 / (1 + math.exp(-margin))


def test_an_agent_written_from_the_reference_alone_says_the_same(site: Site) -> None:
    publisher = site.publisher(tenant="acmé", seeds=(key_of("a"),), codec="gzip")
    site.publish(publisher, 3)
    trust = trust_file(site.folder / "trust.json", key_of("a"))
    agent = site.open(tenant="acmé", trust=trust)
    for hour in range(24):
        numbers = {"hour": hour, "recipients": 2, "thread_length": hour / 3, "sender.reputation": 0.5, "new": 7}
        ours = agent.predict(numbers).probability
        theirs = probability(site.root, json.loads(trust.read_bytes()), "acmé", numbers)
        assert theirs == pytest.approx(ours, abs=2e-6)

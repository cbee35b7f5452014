"""Pointers, and the places that they and their models have: one text for each, and nothing else is taken."""

import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import places
from upm_cli.core.delivery.envelope import Signature
from upm_cli.core.delivery.pointer import MAX_MODEL_BYTES, ModelFile, Place, Pointer, decode
from upm_cli.core.delivery.statement import PAYLOAD_TYPE, envelope, statement
from upm_cli.errors import IntegrityError

DIGEST = "ab" * 32
POINTER = Pointer(
    trainer="main",
    tenant="acmé",
    version=42,
    digest=DIGEST,
    ring="canary",
    place=Place(12, 345),
    kind="rollback",
    decision_id="01a2090b-fc84-764b-b5d6-0fb9f6bf75fa",
    issued_at_ms=1_764_000_000_123,
    expires_at_ms=1_764_600_000_000,
    model=ModelFile(codec="zstd", size_bytes=10, raw_bytes=20, file_digest="cd" * 32),
    snapshot_signatures=(Signature("0123456789abcdef", b"\x01" * 64),),
    lowers_from=Place(13, 1),
)


def test_a_pointer_is_the_text_that_the_reference_shows() -> None:
    assert json.loads(POINTER.encode()) == {
        "schema_version": 1,
        "trainer": "main",
        "tenant": "acmé",
        "version": 42,
        "digest": DIGEST,
        "ring": "canary",
        "epoch": 12,
        "serial": 345,
        "kind": "rollback",
        "decision_id": "01a2090b-fc84-764b-b5d6-0fb9f6bf75fa",
        "issued_at": "2025-11-24T16:00:00.123Z",
        "expires_at": "2025-12-01T14:40:00.000Z",
        "model": {"codec": "zstd", "size_bytes": 10, "raw_bytes": 20, "file_digest": "cd" * 32},
        "snapshot_signatures": [{"keyid": "0123456789abcdef", "sig": "AQEB" * 21 + "AQ=="}],
        "lowers_from": [13, 1],
    }


@pytest.mark.parametrize(
    "pointer",
    [
        POINTER,
        replace(POINTER, tenant="", expires_at_ms=None, snapshot_signatures=(), lowers_from=None, kind="activate"),
        replace(POINTER, place=Place(0, 0), lowers_from=Place(1 << 62, 1 << 62)),
    ],
)
def test_a_pointer_comes_back_as_it_was_encoded(pointer: Pointer) -> None:
    assert decode(pointer.encode()) == pointer
    assert pointer.envelope().payload == pointer.encode()


def changed(**fields: Any) -> bytes:
    return canonical_json({**json.loads(POINTER.encode()), **fields}).encode()


MODEL = json.loads(POINTER.encode())["model"]


@pytest.mark.parametrize(
    "fields",
    [
        {"schema_version": 2},
        {"schema_version": True},
        {"more": 1},
        {"trainer": "../etc"},
        {"trainer": "a/b"},
        {"trainer": "a" * 65},
        {"trainer": 7},
        {"trainer": "main\n"},
        {"tenant": "a\nb"},
        {"tenant": "x" * 257},
        {"tenant": None},
        {"version": 0},
        {"version": True},
        {"version": 1.0},
        {"version": "42"},
        {"digest": DIGEST.upper()},
        {"digest": DIGEST[:-1]},
        {"digest": DIGEST + "\n"},
        {"digest": "../" + DIGEST[3:]},
        {"ring": "everywhere"},
        {"ring": []},
        {"epoch": -1},
        {"epoch": (1 << 62) + 1},
        {"serial": 1e3},
        {"kind": "promote"},
        {"decision_id": ["x"]},
        {"issued_at": "2025-11-24T16:00:00.123"},
        {"issued_at": "2025-11-24T16:00:00.123+00:00"},
        {"issued_at": "yesterday"},
        {"issued_at": "0001-01-01T00:00:00.000+10:00"},
        {"expires_at": 5},
        {"model": {**MODEL, "codec": "lzma"}},
        {"model": {**MODEL, "codec": ["zstd"]}},
        {"model": {**MODEL, "size_bytes": 0}},
        {"model": {**MODEL, "raw_bytes": MAX_MODEL_BYTES + 1}},
        {"model": {**MODEL, "file_digest": "x"}},
        {"model": {**MODEL, "path": "x"}},
        {"model": None},
        {"snapshot_signatures": None},
        {"snapshot_signatures": [{}]},
        {"lowers_from": [1]},
        {"lowers_from": [1, 2, 3]},
        {"lowers_from": [1, -2]},
        {"lowers_from": 5},
    ],
)
def test_a_pointer_that_nobody_would_have_written_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        decode(changed(**fields))


def test_a_pointer_in_another_form_is_refused() -> None:
    good = POINTER.encode()
    half = good.replace(b'"kind":"rollback"', rb'"kind":"rollback"').replace(b"01a2090b", rb"\ud800")
    for payload in (good + b" ", good.replace(b",", b", "), json.dumps(json.loads(good)).encode(), half, b"{}", b""):
        with pytest.raises(IntegrityError):
            decode(payload)


@pytest.mark.parametrize("tenant", ["", "acme", "../../x", "a/b", "Ünï", "x" * 256])
def test_every_tenant_has_one_harmless_file_name_of_its_own(tenant: str) -> None:
    slug = places.slug(tenant)
    assert PurePosixPath(places.pointer("main", tenant)).parts == ("pointers", "main", f"{slug}.json")
    assert PurePosixPath(places.ack("main", tenant, "edge-1")).parts == ("acks", "main", slug, "edge-1.json")
    assert slug.isascii()
    assert slug == "_" or (slug.startswith("t-") and len(slug) == 34)


def test_a_model_is_named_by_its_digest_and_codec_only() -> None:
    assert places.model(DIGEST, "gzip") == f"models/{DIGEST}.gz"
    for digest, codec in ((DIGEST, "xz"), ("../x", "zstd"), (DIGEST.upper(), "none"), ("", "none")):
        with pytest.raises(IntegrityError):
            places.model(digest, codec)


def test_the_statement_of_a_snapshot_is_an_in_toto_statement_about_its_digest() -> None:
    manifest = {"trainer": "main", "version": 42, "schema_version": 1}
    made = envelope(manifest, DIGEST)
    assert made.payload_type == PAYLOAD_TYPE == "application/vnd.in-toto+json"
    assert json.loads(made.payload) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "main@42", "digest": {"sha256": DIGEST}}],
        "predicateType": "urn:upm:snapshot:v1",
        "predicate": manifest,
    }
    assert made.payload == statement(manifest, DIGEST)

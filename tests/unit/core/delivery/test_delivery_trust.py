"""Trust files: what `upm keys export` writes comes back, and what is not one says so."""

import base64
import json
from typing import Any

import pytest

from upm_cli import ed25519
from upm_cli.core.delivery.trust import MAX_TRUST_BYTES, Trust, read_trust
from upm_cli.errors import IntegrityError
from upm_cli.testing import key_of

PUBLIC = ed25519.public_of(key_of("a"))
KEYID = ed25519.key_id(PUBLIC)
KEY = {"keyid": KEYID, "public": base64.b64encode(PUBLIC).decode(), "created_at": "2026-01-01T00:00:00.000Z"}
GONE = {"keyid": "0" * 16, "revoked_at": "2026-02-01T00:00:00.000Z", "reason": "lost"}
FILE = {"schema_version": 1, "keys": [KEY], "revoked": [GONE]}


def read(value: Any) -> Trust:
    return read_trust(json.dumps(value).encode(), ed25519.key_id)


def test_a_trust_file_comes_back_as_it_was_written() -> None:
    trust = read(FILE)
    assert trust.to_json() == FILE
    assert trust.believes(KEYID)
    assert not trust.believes(GONE["keyid"])
    assert not trust.believes("f" * 16)


def test_a_revoked_key_is_not_believed_though_it_is_listed() -> None:
    assert not read({**FILE, "revoked": [{"keyid": KEYID}]}).believes(KEYID)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {**FILE, "schema_version": 2},
        {"schema_version": 1, "keys": []},
        {**FILE, "keys": None},
        {**FILE, "keys": [{}]},
        {**FILE, "keys": ["x"]},
        {**FILE, "keys": [{**KEY, "public": "*"}]},
        {**FILE, "keys": [{**KEY, "public": base64.b64encode(PUBLIC[:-1]).decode()}]},
        {**FILE, "keys": [{**KEY, "keyid": "0" * 16}]},
        {**FILE, "keys": [{**KEY, "keyid": [KEYID]}]},
        {**FILE, "revoked": [{}]},
        {**FILE, "revoked": [7]},
        {**FILE, "revoked": 7},
    ],
)
def test_what_is_no_trust_file_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError):
        read(value)


def test_a_trust_file_is_not_read_beyond_its_size() -> None:
    with pytest.raises(IntegrityError):
        read_trust(b" " * MAX_TRUST_BYTES + b"{}", ed25519.key_id)

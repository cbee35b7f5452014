"""The list of keys, and the text form of a key: only what upm or OpenSSL would write is read."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli.core.delivery import keyring, pem
from upm_cli.core.delivery.keyring import Key, Keyring, KeyState, switched, with_next, without
from upm_cli.ed25519 import key_id, public_of
from upm_cli.errors import IntegrityError

SEED = bytes(range(32))
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def public(n: int) -> bytes:
    return bytes([n]) * 32


def ring_of(count: int) -> Keyring:
    """Return a ring in which `count` keys signed in turn; the last one signs."""
    ring = Keyring()
    for n in range(1, count + 1):
        ring = switched(with_next(ring, key_id(public(n)), public(n), n * 1000))
    return ring


def states(ring: Keyring) -> list[str]:
    return [each.state.value for each in ring.keys]


def test_a_rotation_leaves_one_key_signing_and_the_others_accepted() -> None:
    ring = ring_of(3)
    assert states(ring) == ["accepted", "accepted", "signing"]
    assert states(with_next(ring, "f" * 16, public(9), 1)) == ["accepted", "accepted", "signing", "next"]
    assert ring.signing is not None
    assert ring.signing.keyid == key_id(public(3))


def test_the_key_that_signs_and_a_revoked_one_are_not_revoked() -> None:
    ring = without(ring_of(2), key_id(public(1)), 5, "lost")
    assert states(ring) == ["revoked", "signing"]
    for keyid in (key_id(public(1)), key_id(public(2)), "0" * 16):
        with pytest.raises(ValueError, match="can't be revoked"):
            without(ring, keyid, 6, "again")
    with pytest.raises(ValueError, match="no key that is to sign next"):
        switched(ring)


def test_two_keys_never_sign_and_are_never_next() -> None:
    key = Key(keyid="a", public=public(1), created_at_ms=0, state=KeyState.SIGNING)
    for state in (KeyState.SIGNING, KeyState.NEXT):
        twins = (replace(key, state=state), replace(key, keyid="b", state=state))
        with pytest.raises(ValueError, match="more than one key"):
            Keyring(keys=twins)
    with pytest.raises(ValueError, match="twice"):
        Keyring(keys=(key, replace(key, state=KeyState.ACCEPTED)))
    with pytest.raises(ValueError, match="without a time"):
        Keyring(keys=(replace(key, state=KeyState.REVOKED),))


def test_the_trust_file_has_what_is_believed_and_names_what_is_not() -> None:
    ring = with_next(without(ring_of(3), key_id(public(1)), 7000, "the tape was lost"), "e" * 16, public(9), 8000)
    trust = ring.trust()
    assert set(trust.keys) == {key_id(public(2)), key_id(public(3)), "e" * 16}
    assert trust.to_json()["revoked"] == [
        {"keyid": key_id(public(1)), "revoked_at": "1970-01-01T00:00:07.000Z", "reason": "the tape was lost"}
    ]
    assert set(ring.known().keys) == {*trust.keys, key_id(public(1))}
    assert not ring.known().believes(key_id(public(1)))


def changed(ring: Keyring, **more: Any) -> bytes:
    plain = json.loads(keyring.encode(ring))
    plain["keys"][0] |= more
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    "more",
    [
        {"keyid": "0" * 16},
        {"public": "AAAA"},
        {"public": 7},
        {"state": "signing"},
        {"state": "trusted"},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01T00:00:00"},
        {"created_at": 5},
        {"revoked_at": "2026-01-01T00:00:00.000Z"},
        {"reason": 5},
        {"more": 1},
    ],
    ids=str,
)
def test_a_list_that_upm_would_not_write_is_damaged(more: dict[str, Any]) -> None:
    ring = ring_of(2)
    assert keyring.decode(changed(ring), key_id) == ring
    with pytest.raises(IntegrityError):
        keyring.decode(changed(ring, **more), key_id)


NO_LISTS = [b"", b"[]", b"{}", b'{"schema_version":2,"keys":[]}', b'{"schema_version":1}', b"\xff"]


@pytest.mark.parametrize("data", NO_LISTS)
def test_what_is_no_list_is_damaged(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        keyring.decode(data, key_id)


def openssl(*words: str) -> bytes:
    return subprocess.run(["openssl", *words], capture_output=True, check=True).stdout


@OPENSSL
def test_openssl_reads_our_keys(tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_bytes(pem.private_pem(SEED))
    assert openssl("pkey", "-in", str(private), "-pubout") == pem.public_pem(public_of(SEED))
    assert openssl("pkey", "-in", str(private)) == pem.private_pem(SEED)


@OPENSSL
def test_we_read_keys_of_openssl(tmp_path: Path) -> None:
    made = tmp_path / "made.pem"
    made.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    assert openssl("pkey", "-in", str(made), "-pubout") == pem.public_pem(public_of(pem.seed_of(made.read_bytes())))


def test_what_is_no_private_key_is_refused_without_telling_what_it_is() -> None:
    good = pem.private_pem(SEED)
    assert pem.seed_of(good.replace(b"\n", b"\r\n")) == SEED
    body = good.split(b"\n")[1]
    for bad in (
        b"",
        body,
        good[:-1].replace(b"-----END", b"----END"),
        good.replace(body, body[:-4]),
        good.replace(body, b"!" + body[1:]),
        good.replace(body, b"A" * len(body)),
        good.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"),
        pem.public_pem(public_of(SEED)),
        good + b" " * 5000,
    ):
        with pytest.raises(ValueError, match=r"^it is no ed25519 private key in PKCS#8 PEM without a password$"):
            pem.seed_of(bad)

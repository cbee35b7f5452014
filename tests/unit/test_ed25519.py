"""Ed25519: the vectors of RFC 8032, and OpenSSL's word on what we sign."""

import subprocess
import sys
from pathlib import Path

import pytest

from upm_cli import ed25519
from upm_cli.errors import InvalidError, UsageError

# RFC 8032, section 7.1: secret key, public key, message, signature
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what comes before a raw public key in DER


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc_come_out(seed: str, public: str, message: str, signature: str) -> None:
    seed_, public_, message_ = bytes.fromhex(seed), bytes.fromhex(public), bytes.fromhex(message)
    assert ed25519.public_of(seed_) == public_
    assert ed25519.sign(seed_, message_).hex() == signature
    assert ed25519.verify(public_, bytes.fromhex(signature), message_)


def test_openssl_believes_our_signatures_and_not_changed_ones(tmp_path: Path) -> None:
    seed, message = bytes(range(32)), b"what is signed\n"
    (tmp_path / "key.der").write_bytes(SPKI + ed25519.public_of(seed))
    (tmp_path / "message").write_bytes(message)
    words = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.der", "-keyform", "DER", "-rawin"]
    words += ["-in", "message", "-sigfile", "signature"]
    good = ed25519.sign(seed, message)
    for signature, is_right in ((good, True), (good[:-1] + bytes([good[-1] ^ 1]), False)):
        (tmp_path / "signature").write_bytes(signature)
        done = subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode == 0) == is_right


def test_every_changed_bit_of_a_signature_or_message_is_noticed() -> None:
    seed, message = bytes(range(32)), b"abc"
    public, signature = ed25519.public_of(seed), ed25519.sign(seed, message)
    for bit in range(8 * 64):
        broken = bytearray(signature)
        broken[bit // 8] ^= 1 << bit % 8
        assert not ed25519.verify(public, bytes(broken), message)
    assert not ed25519.verify(public, signature, b"abd")
    assert not ed25519.verify(ed25519.public_of(bytes(32)), signature, message)


def test_bytes_that_are_no_key_or_signature_verify_nothing() -> None:
    seed = bytes(range(32))
    public, signature = ed25519.public_of(seed), ed25519.sign(seed, b"")
    for wrong in (b"", public[:-1], public + b"\0", b"\xff" * 32):
        assert not ed25519.verify(wrong, signature, b"")
    for wrong in (b"", signature[:-1], signature + b"\0"):
        assert not ed25519.verify(public, wrong, b"")


def test_a_seed_of_another_size_is_refused() -> None:
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidError):
            ed25519.sign(seed, b"")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: ed25519.sign(bytes(32), b""), lambda: ed25519.verify(bytes(32), bytes(64), b"")):
        with pytest.raises(UsageError, match="cryptography") as caught:
            call()
        assert "pip install" in caught.value.hint


def test_the_id_of_a_key_is_the_beginning_of_its_sha256() -> None:
    assert ed25519.key_id(bytes(32)) == "66687aadf862bd77"

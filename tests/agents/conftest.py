"""Things to deliver, and agents on loopback to deliver them to."""

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deliveries import make_delivery
from stub import Behave, Stub

from upm_cli.adapters.base import Delivery


@pytest.fixture
def serve() -> Iterator[Callable[..., Stub]]:
    """Start agents that are closed when the test ends."""
    stubs: list[Stub] = []

    def start(behave: Behave | None = None, tls: ssl.SSLContext | None = None) -> Stub:
        stubs.append(Stub(behave, tls))
        return stubs[-1]

    yield start
    for stub in stubs:
        stub.close()


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    """Something to deliver, with a stored file of a megabyte."""
    return make_delivery(tmp_path / "model.bin", b"model" * 200_000)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a file with a self-signed certificate for some names and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def make(*names: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        now = datetime.datetime.now(datetime.UTC)
        alternatives = [_general_name(x509, name) for name in names]
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path_factory.mktemp("tls") / "both.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
        return path

    return make


def _general_name(x509, name: str):  # type: ignore[no-untyped-def]
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

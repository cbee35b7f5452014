"""How an HTTP agent is run, and under which limits."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from upm_cli.errors import RefusedError, UsageError

DEFAULT_PORT: Final = 8765


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask for and how long it may take. Sizes are bytes, times seconds."""

    json_bytes: int = 1 << 20
    model_bytes: int = 2 << 30  # stored, and unpacked
    head_bytes: int = 16 << 10
    head_s: float = 10.0  # from a connection's start to the end of a request's head
    body_s: float = 10.0  # for a body of JSON
    model_s: float = 30.0  # for a model, and a second more for each `slowest_bytes` of it
    slowest_bytes: int = 64 << 10
    stall_s: float = 10.0  # how long a client may take none of an answer
    keep_alive_s: int = 15
    predict_s: float = 10.0
    connections: int = 256
    uploads: int = 2
    windows: int = 1000
    requests_per_s: float = 5000.0  # of one client; twice as many at once; 0: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `upm agent serve` was told."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token_file: Path | None = None
    trust: Path | None = None
    name: str | None = None
    log_features: bool = True
    trainer: str | None = None
    pull: str | None = None  # a directory or URL; None: models are pushed here
    tenants: tuple[str, ...] = ()
    pull_token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    host_names: tuple[str, ...] = ()  # what the Host header may name, besides the address it listens on
    limits: Limits = field(default_factory=Limits)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise RefusedError for what would be open to others, UsageError for what does not go together."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"{self.port} is no port", hint="1 to 65535, or 0 for any that is free")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together")
        if self.tenants and self.pull is None:
            raise UsageError(
                "--tenant is for --pull; what is pushed says for which tenant it is", hint="leave --tenant out"
            )
        if self.is_loopback:
            return
        if self.token_file is None:
            raise RefusedError(
                f"on {self.host} others could send it models without a token",
                hint="make one: upm agent token FILE, and give --token-file FILE; or listen on 127.0.0.1",
                code="UPM-E147",
            )
        if self.tls_cert is None and not self.behind_proxy:
            raise RefusedError(
                f"on {self.host} the token would travel unencrypted",
                hint="give --tls-cert and --tls-key, or --behind-proxy when something in front of it does TLS",
                code="UPM-E147",
            )

"""The trust file of an agent: read again whenever it changes."""

import os
import stat
from pathlib import Path

from upm_cli import ed25519
from upm_cli.agent import files
from upm_cli.agent.errors import UntrustedError
from upm_cli.core.delivery.envelope import Envelope
from upm_cli.core.delivery.trust import MAX_TRUST_BYTES, Trust, read_trust, signer
from upm_cli.errors import UpmError, UsageError


class TrustFile:
    """The keys that are believed, as the file has them now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: files.Stamp | None = None
        self._trust: Trust | None = None

    def stamp(self) -> files.Stamp | None:
        """Return what changes when the file does; it may be a link, and then what it leads to counts."""
        return files.stamp(self.path.resolve())

    def now(self) -> Trust:
        """Return the keys. Raises UntrustedError when the file is missing or can't be read: then nobody is believed."""
        stamp = self.stamp()
        if self._trust is None or stamp is None or stamp != self._stamp:
            self._trust, self._stamp = self._read(), stamp
        return self._trust

    def _read(self) -> Trust:
        path = self.path.resolve()
        try:
            with files.opened(path.parent, path.name) as (fd, _):
                if os.fstat(fd).st_mode & stat.S_IWOTH:
                    raise _untrusted(f"anybody may write to the trust file {self.path}", f"chmod o-w {self.path}")
            return read_trust(files.read_small(path.parent, path.name, MAX_TRUST_BYTES), ed25519.key_id)
        except FileNotFoundError as exc:
            raise _untrusted(f"there is no trust file {self.path}") from exc
        except UntrustedError:
            raise
        except UpmError as exc:
            raise _untrusted(f"the trust file {self.path} can't be used: {exc.message}") from exc


def signed_by(found: Envelope, trust: Trust, what: str) -> str:
    """Return the id of the believed key that signed `found`. Raises UntrustedError when none did."""
    try:
        keyid = signer(found, trust, ed25519.verify)
    except UsageError as exc:  # the package that verifies is not there
        raise UntrustedError(f"{what} can't be verified: {exc.message}", hint=exc.hint) from exc
    if keyid is None:
        named = ", ".join(each.keyid[:16] for each in found.signatures) or "nobody"
        raise UntrustedError(
            f"{what} is not signed by a trusted key (signed by: {named})",
            hint="what is in use stays; compare the trust file with what `upm keys export` gives",
        )
    return keyid


def _untrusted(why: str, hint: str = "make one where the keys are: upm keys export > trust.json") -> UntrustedError:
    return UntrustedError(why, hint=hint)

"""Whether a snapshot is signed: what was found, in the form that gates, lists and the record share."""

from dataclasses import dataclass
from enum import StrEnum


class SignatureState(StrEnum):
    """What the signatures of a snapshot come to."""

    SIGNED = "signed"  # by a key that is believed
    UNSIGNED = "unsigned"
    REVOKED = "revoked"  # only by keys that were revoked
    UNKNOWN = "unknown"  # only by keys that this project does not know
    INVALID = "invalid"  # a signature of a known key is not right, and no other one counts
    UNCHECKED = "unchecked"  # nobody can tell here: a package or the list of keys is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the signatures of one snapshot come to, and the key that this is due to."""

    state: SignatureState = SignatureState.UNSIGNED
    keyid: str | None = None
    by: tuple[str, ...] = ()  # all believed keys whose signature is right
    wrong: tuple[str, ...] = ()  # known keys whose signature is not
    why: str = ""  # it can't be checked

    @property
    def is_signed(self) -> bool:
        return self.state is SignatureState.SIGNED

    def words(self) -> str:
        """Say it in a few words."""
        return {
            SignatureState.SIGNED: f"signed by {self.keyid}",
            SignatureState.UNSIGNED: "unsigned",
            SignatureState.REVOKED: f"signed by {self.keyid}, which is revoked",
            SignatureState.UNKNOWN: f"signed by {self.keyid}, which is not known here",
            SignatureState.INVALID: f"not what {self.keyid or 'anybody'} signed",
            SignatureState.UNCHECKED: f"not checked: {self.why}",
        }[self.state]

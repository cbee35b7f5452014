"""What the signatures of an envelope come to, for who knows all keys of a project, the revoked ones too."""

from upm_cli.core.delivery.envelope import Envelope
from upm_cli.core.delivery.trust import Trust, Verify
from upm_cli.core.signatures import SignatureState, Signed


def judge(envelope: Envelope, known: Trust, verify: Verify) -> Signed:
    """Return what the signatures come to: one of a believed key is enough, wherever it stands.

    `known` has the public keys of the revoked as well, so that what one of them signed can be told from a signature
    that was changed. Without a believed one, a wrong signature says more than a revoked or unknown one.
    """
    message = envelope.signed_bytes()
    found: dict[SignatureState, list[str]] = {state: [] for state in _ORDER}
    for each in envelope.signatures:
        public = known.keys.get(each.keyid)
        if public is None:
            state = SignatureState.UNKNOWN
        elif not verify(public, each.sig, message):
            state = SignatureState.INVALID
        else:
            state = SignatureState.SIGNED if known.believes(each.keyid) else SignatureState.REVOKED
        found[state].append(each.keyid)
    best = next((each for each in _ORDER if found[each]), None)
    if best is None:
        return Signed()
    by, wrong = found[SignatureState.SIGNED], found[SignatureState.INVALID]
    return Signed(state=best, keyid=found[best][0], by=tuple(by), wrong=tuple(wrong))


_ORDER = (SignatureState.SIGNED, SignatureState.INVALID, SignatureState.REVOKED, SignatureState.UNKNOWN)

"""What goes wrong at an agent; all of it is an AgentError, and each also one of the errors that the rest of upm has.

AgentError
├── AgentUsageError     the call itself is wrong: a bad address, no log to write to, a closed agent
├── NothingToServeError no model is there, and none was kept from before
├── NotTakenError       a pointer is refused: older than what was seen, a fork of it, expired, for somebody else
├── UntrustedError      no trusted key signed it, or the trust file can't be read
├── DamagedError        bytes are not what they were sent as
├── UnreachableError    the directory or the URL does not answer
├── ForgetfulError      the agent's memory of what it has seen can't be read
└── FeaturesError       features that no model takes, or an outcome that is no label
"""

import contextlib
from collections.abc import Iterator

from upm_cli.errors import (
    IntegrityError,
    InvalidError,
    NotFoundError,
    RefusedError,
    StorageError,
    UpmError,
    UsageError,
)


class AgentError(UpmError):
    """Something an agent can't do."""


class AgentUsageError(AgentError, UsageError):
    default_code = "UPM-E130"


class NothingToServeError(AgentError, NotFoundError):
    default_code = "UPM-E131"


class NotTakenError(AgentError, RefusedError):
    default_code = "UPM-E132"


class UntrustedError(AgentError, IntegrityError):
    default_code = "UPM-E133"


class DamagedError(AgentError, IntegrityError):
    default_code = "UPM-E134"


class UnreachableError(AgentError, StorageError):
    default_code = "UPM-E135"


class ForgetfulError(AgentError, IntegrityError):
    default_code = "UPM-E136"


class FeaturesError(AgentError, InvalidError):
    default_code = "UPM-E137"


@contextlib.contextmanager
def as_damage(what: str) -> Iterator[None]:
    """Turn an IntegrityError of the pure parts into a DamagedError about `what`."""
    try:
        yield
    except AgentError:
        raise
    except IntegrityError as exc:
        raise DamagedError(f"{what}: {exc.message}", hint=exc.hint) from exc

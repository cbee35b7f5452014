"""How a delivery can fail, which failures are final, and which tell that a whole endpoint is in trouble."""

from enum import StrEnum
from typing import Final


class Failure(StrEnum):
    """Why a delivery failed, as telemetry and people see it."""

    UNREACHABLE = "unreachable"  # refused, reset, no such host, no such folder
    TIMEOUT = "timeout"
    BUSY = "busy"  # the other side asks to come again later
    GARBLED = "garbled"  # it answered what nobody can read, or far too much
    LYING = "lying"  # it says that it serves something else than what was sent
    REFUSED = "refused"  # it does not take this pointer: its signature, its age, its token
    FORBIDDEN = "forbidden"  # we do not send there: the address is not allowed
    DISK = "disk"  # the place can't be written


#: Trying again brings nothing until somebody changes something.
FINAL: Final = frozenset({Failure.REFUSED, Failure.FORBIDDEN})

#: Whoever fails like this will fail with the next pointer as well; a refusal is a sign of life.
OF_THE_ENDPOINT: Final = frozenset(Failure) - FINAL

"""What can go wrong, as one tree.

UpmError
├── UsageError       2   the call itself is wrong, or needs a confirmation nobody can give
├── InvalidError     3   configuration or data is not valid
├── NotFoundError    4   no such trainer, version, file
├── RefusedError     5   a gate or policy says no
├── BreachError      6   drift is over its limit
├── BusyError        7   somebody else holds the lock or lease; trying again is safe
├── PartialError     8   some of the parts failed
├── IntegrityError   9   bytes are not what they were signed or hashed as
├── TimedOutError   10   the deadline passed
└── StorageError     1   the disk or the operating system refused (full, read-only, no permission)

Every error says what happened, to what, and what to do next (`hint`). `code` names the page that
`upm explain` prints.
"""

from collections.abc import Mapping
from typing import Any


class UpmError(Exception):
    """Something upm can't do, told in one sentence.

    `code` is stable ("UPM-E040"); `hint` is what to do next; `context` holds the numbers and names
    that the JSON form carries.
    """

    kind = "internal"
    default_code = "UPM-E001"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.context = dict(context or {})


class UsageError(UpmError):
    kind, default_code = "usage", "UPM-E020"


class InvalidError(UpmError):
    kind, default_code = "invalid", "UPM-E030"


class NotFoundError(UpmError):
    kind, default_code = "not-found", "UPM-E040"


class RefusedError(UpmError):
    kind, default_code = "refused", "UPM-E050"


class BreachError(UpmError):
    kind, default_code = "breach", "UPM-E060"


class BusyError(UpmError):
    kind, default_code = "busy", "UPM-E070"


class PartialError(UpmError):
    kind, default_code = "partial", "UPM-E080"


class IntegrityError(UpmError):
    kind, default_code = "integrity", "UPM-E090"


class TimedOutError(UpmError):
    kind, default_code = "timed-out", "UPM-E100"


class StorageError(UpmError):
    kind, default_code = "storage", "UPM-E010"

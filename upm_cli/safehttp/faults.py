"""How a request fails, for reasons that lie on the way or at the other side."""

from enum import StrEnum

from upm_cli.errors import PartialError


class Fault(StrEnum):
    """What went wrong with one request."""

    UNREACHABLE = "unreachable"  # no such host, refused, reset, not who its certificate has to say it is
    TIMEOUT = "timeout"
    GARBLED = "garbled"  # what came back is not HTTP, is cut off, or is far too much


class HttpError(PartialError):
    """A request that brought no answer that can be used. Trying again later may."""

    default_code = "UPM-E140"

    def __init__(self, fault: Fault, message: str) -> None:
        hint = "look at the address and whether something answers there: upm agent status URL"
        super().__init__(message, hint=hint, context={"fault": fault.value})
        self.fault = fault

"""The exit codes that scripts and cron lines may rely on, and which error ends with which."""

from enum import IntEnum

from upm_cli import errors


class ExitCode(IntEnum):
    """What the process says to its caller. Values are a contract; see docs/reference/cli.md."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    INVALID = 3
    NOT_FOUND = 4
    REFUSED = 5
    BREACH = 6
    BUSY = 7
    PARTIAL = 8
    INTEGRITY = 9
    TIMED_OUT = 10
    INTERRUPTED = 130
    TERMINATED = 143


_BY_ERROR: dict[type[errors.UpmError], ExitCode] = {
    errors.UsageError: ExitCode.USAGE,
    errors.InvalidError: ExitCode.INVALID,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.RefusedError: ExitCode.REFUSED,
    errors.BreachError: ExitCode.BREACH,
    errors.BusyError: ExitCode.BUSY,
    errors.PartialError: ExitCode.PARTIAL,
    errors.IntegrityError: ExitCode.INTEGRITY,
    errors.TimedOutError: ExitCode.TIMED_OUT,
}


def for_error(error: BaseException) -> ExitCode:
    """Return the exit code of `error`; anything that is not a known `UpmError` is internal."""
    for kind in type(error).__mro__:
        if kind in _BY_ERROR:
            return _BY_ERROR[kind]
    return ExitCode.INTERNAL


def error_for(code: int) -> type[errors.UpmError]:
    """Return the kind of error that ends with `code`."""
    return next((kind for kind, own in _BY_ERROR.items() if own == code), errors.UpmError)

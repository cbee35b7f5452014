"""The exit codes that scripts and cron lines may rely on, and which error ends with which."""

from enum import IntEnum
from typing import Final

from upm_cli import errors


class ExitCode(IntEnum):
    """What the process says to its caller. Values are a contract; see `upm help exit-codes`."""

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


#: What each of them means, and what is to be done then by who runs it: a person, a crontab, a CI job.
MEANING: Final[dict[ExitCode, tuple[str, str]]] = {
    ExitCode.DONE: ("done, done already, or nothing to do", "nothing"),
    ExitCode.INTERNAL: ("internal error, or the disk refused", "look at once; the message says at what"),
    ExitCode.USAGE: ("wrong usage, or a confirmation that nobody could give", "correct the call, or add `--yes`"),
    ExitCode.INVALID: ("configuration or data not valid", "correct them: `upm validate`"),
    ExitCode.NOT_FOUND: ("no such project, trainer, version, file", "correct the name"),
    ExitCode.REFUSED: ("refused by a gate or policy", "wait; `upm gate check` says what for"),
    ExitCode.BREACH: ("drift over its limit", "look: `upm drift-report`"),
    ExitCode.BUSY: ("somebody else holds the lock or lease; trying again is safe", "try again later, or pass over it"),
    ExitCode.PARTIAL: ("some of the parts failed", "see which; the same again does what is left"),
    ExitCode.INTEGRITY: ("bytes are not what they were written as", "stop and look: `upm doctor`"),
    ExitCode.TIMED_OUT: ("--timeout was over", "try again, or look why; it is safe"),
    ExitCode.INTERRUPTED: ("interrupted (Ctrl-C)", "nothing; nothing is lost"),
    ExitCode.TERMINATED: ("terminated (SIGTERM)", "nothing; nothing is lost"),
}


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

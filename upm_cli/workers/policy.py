"""How the `supervisor` section becomes a policy of restarts, and which errors pass by themselves."""

from typing import Final

from upm_cli.config.schema import SupervisorSettings
from upm_cli.core.supervision import FINAL, Policy
from upm_cli.errors import BusyError, UpmError
from upm_cli.exit_codes import ExitCode

#: Somebody else is at it, or there is no room on the disk: tried again for as long as it takes.
_PASSING: Final = ("UPM-E010",)


def policy_of(settings: SupervisorSettings) -> Policy:
    """Return how patient supervision is."""
    return Policy(
        backoff_s=settings.restart_backoff_ms / 1000,
        backoff_most_s=settings.restart_backoff_most_ms / 1000,
        intensity=settings.restart_intensity,
        window_s=settings.restart_window_ms / 1000,
        healthy_s=settings.healthy_ms / 1000,
        start_s=max(60.0, settings.stuck_ms / 1000),
        stuck_s=settings.stuck_ms / 1000,
        grace_s=settings.grace_ms / 1000,
        may_restart=settings.enabled,
        final=FINAL - {ExitCode.BUSY},
    )


def is_waiting(error: BaseException) -> bool:
    """Say whether what is in the way of a worker may pass without anybody doing something about the worker."""
    return isinstance(error, BusyError) or (isinstance(error, UpmError) and error.code in _PASSING)


def passes(code: int, error_code: str) -> bool:
    """The same for a process that ended with `code`, having told `error_code`."""
    return code == ExitCode.BUSY or error_code in _PASSING

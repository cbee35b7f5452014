"""Who may do what, and what holds everything back: roles, overrides, freezes and the policy's gates, read and asked."""

from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli import actors
from upm_cli.core import policy
from upm_cli.core.policy import AccessPolicy, active_overrides, role_of
from upm_cli.core.records import Override
from upm_cli.core.rollouts import calendar
from upm_cli.errors import RefusedError, StorageError
from upm_cli.ids import iso
from upm_cli.store import freezes, overrides

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader


def access(settings: "Settings") -> AccessPolicy:
    """Return what the `policy` section says about people and tenants."""
    section = settings.policy
    return AccessPolicy(
        canary_tenants=section.canary_tenants,
        min_shadow_hours=section.min_shadow_hours,
        admin_roles=section.admin_roles,
        actors=dict(section.actors),
        second_approver=section.second_approver,
        override_hours=section.override_hours,
    )


def role(settings: "Settings", home: Path, actor: str) -> str:
    """Return the role of the operating system user `actor` in the project whose .upm folder is `home`."""
    try:
        owner = actors.name_of(home.stat().st_uid)
    except OSError as exc:
        raise StorageError(f"can't tell who owns {home}: {exc.strerror}", hint="upm doctor") from exc
    return role_of(actor, access(settings), owner=owner)


def require(settings: "Settings", home: Path, actor: str, action: str) -> None:
    """Raise RefusedError unless `actor` may do `action` (one of core.policy.ACTIONS)."""
    policy.require(actor, role(settings, home, actor), action, access(settings))


def in_force(reader: "Reader", settings: "Settings", home: Path, name: str, now_ms: int) -> dict[str, Override]:
    """Return the overrides that count now, by gate."""
    found = overrides.list_for(reader, name)
    if not found:
        return {}
    return active_overrides(found, now_ms, access(settings), lambda actor: role(settings, home, actor))


def frozen(reader: "Reader", settings: "Settings", name: str, now_ms: int) -> str | None:
    """Return the freeze that lasts now, in words: a person's, or one of the calendar; None: nothing is frozen."""
    for freeze in freezes.list_all(reader):
        if freeze.trainer in ("", name) and (freeze.until_ms is None or now_ms < freeze.until_ms):
            end = "it is lifted" if freeze.until_ms is None else iso(freeze.until_ms)
            return f"by {freeze.actor} until {end} ({freeze.reason or 'no reason given'})"
    return calendar.frozen([calendar.parse_window(text) for text in settings.rollout.freeze], now_ms)


def refuse_frozen(reader: "Reader", settings: "Settings", name: str, now_ms: int, otherwise: str) -> None:
    """Refuse to give a tenant another version during a freeze; `otherwise` says what is possible all the time."""
    lasting = frozen(reader, settings, name, now_ms)
    if lasting is None:
        return
    raise RefusedError(
        f"gate freeze: frozen {lasting}: no tenant gets another version",
        hint=f"wait until it ends; {otherwise}",
        code="UPM-E051",
        context={"gate": "freeze", "frozen": lasting},
    )


def may_sign(settings: "Settings", home: Path, actor: str) -> bool:
    """Say whether the word of `actor` counts for a sign-off, by the policy in force."""
    return policy.may(role(settings, home, actor), "signoff", access(settings)).allowed

"""Helpers of tests; nothing of upm itself imports this."""

from dataclasses import replace

from upm_cli.config.schema import PolicySettings, Settings
from upm_cli.ops.made_up_evidence import prove

__all__ = ["open_policy", "prove"]


def open_policy(settings: Settings, *admins: str) -> Settings:
    """Return `settings` under which `admins` may do everything and shadow takes no time, for any tenant.

    Evidence is still asked for.
    """
    policy = PolicySettings(
        canary_tenants=("*",), min_shadow_hours=0, actors=dict.fromkeys(admins, "admin"), readiness_quiet_hours=0
    )
    return replace(settings, policy=policy)

"""Helpers of tests; nothing of upm itself imports this."""

from dataclasses import replace
from typing import Any

from upm_cli.config.schema import PolicySettings, Settings
from upm_cli.ids import iso
from upm_cli.ops.made_up_evidence import prove

__all__ = ["of_agent", "open_policy", "prove"]

T0 = 1_800_000_000_000
MADE_UP_DIGEST = "ab" * 32


def of_agent(number: int, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return prediction and outcome number `number` as an agent tells them, an hour apart; a second between numbers.

    `more` replaces fields of both, wherever they are; `label` and `acted` are those of the outcome.
    """
    start_ms = T0 + 1000 * number
    outcome = {
        "prediction_id": f"01900000-0000-7000-8000-{number:012d}",
        "label": more.pop("label", 1),
        "acted": more.pop("acted", True),
        "observed_at": iso(start_ms + 3_600_000),
        "agent": "edge-1",
    }
    made = {
        "prediction_id": outcome["prediction_id"],
        "window_id": f"w{number}",
        "trainer": "main",
        "tenant_id": f"t{number % 3}",
        "version": 3,
        "digest": MADE_UP_DIGEST,
        "epoch": 12,
        "agent": "edge-1",
        "predicted_at": iso(start_ms + 1000),
        "window_start": iso(start_ms),
        "window_end": iso(start_ms + 1000),
        "prediction": {"prediction": 1, "probability": 0.75},
    }
    features = more.pop("features", {"x": number / 10, "kind": f"k{number % 3}"})
    made |= {key: value for key, value in more.items() if key in made}
    outcome |= {key: value for key, value in more.items() if key in outcome}
    told = {"type": "ai.upm.prediction", **made, "features": features}
    return told, {"type": "ai.upm.outcome", **outcome, "served": more.get("served", made)}


def open_policy(settings: Settings, *admins: str) -> Settings:
    """Return `settings` under which `admins` may do everything and shadow takes no time, for any tenant.

    Evidence is still asked for.
    """
    policy = PolicySettings(
        canary_tenants=("*",), min_shadow_hours=0, actors=dict.fromkeys(admins, "admin"), readiness_quiet_hours=0
    )
    return replace(settings, policy=policy)

"""The commented upm.yaml that `upm init` writes: the settings people change, with what they mean."""

from upm_cli.config.fields import Spec
from upm_cli.config.schema import SPECS

# The settings that are shown; the rest have their defaults and are in docs/reference/config.md.
_SHOWN = (
    "features.unified_model",
    "trainer_worker.snapshot_interval",
    "trainer_worker.batch_size",
    "replay_buffer.max_buffer_size",
    "replay_buffer.release_delay_ms",
    "replay_buffer.late_window_tolerance_ms",
    "snapshot_manager.compression",
    "snapshot_manager.retention_days",
    "drift_monitor.drift_threshold",
    "drift_monitor.sample_size",
    "rollout.automatic",
    "rollout.on_harm",
    "rollout.on_quarantine",
)
_HEAD = """\
# upm project. What is in force, and from where: upm config show --origin
# Every setting: upm config schema. Check after a change: upm validate
"""
_TRAINERS = """
supervisor:
  default_trainers:
    - name: default
      mode: shadow            # shadow (learns, nobody sees it) | canary | active
      sources: []             # files, folders or globs, as in [inbox/*.jsonl]; or upm train --source FILE
"""
_POLICY = """
policy:
  min_shadow_hours: 336                # Hours in shadow before a trainer may become active.
  canary_tenants: []                   # Tenants that may be part of a canary; ['*'] is all of them. None: no canary.
  actors: {}                           # Role of each user, as in {alice: admin, bob: operator}; none: you are admin.
"""


def render_template() -> str:
    """Return the text of a new upm.yaml; every value in it is the default."""
    text, section = _HEAD, ""
    for path in _SHOWN:
        name, _, key = path.partition(".")
        if name != section:
            text += f"\n{name}:\n"
            section = name
        text += f"{f'  {key}: {_value(SPECS[path])}':<38} # {SPECS[path].doc}\n"
    return text + _POLICY + _TRAINERS


def _value(spec: Spec) -> str:
    if isinstance(spec.default, bool):
        return str(spec.default).lower()
    return str(spec.default)

"""What each gate asks, in words: for `upm gate explain`, and so that no gate can exist that nobody explains."""

from dataclasses import dataclass
from typing import Final

from upm_cli.core.gates import OVERRIDABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """One gate. `of`: whom it is asked about (activation, rollout, both)."""

    gate: str
    of: str
    asks: str
    opens: str

    @property
    def is_overridable(self) -> bool:
        """Whether an admin may except it for a while."""
        return self.gate in OVERRIDABLE


GUIDES: Final = (
    Guide(
        gate="quarantine",
        of="both",
        asks="Is the snapshot free of quarantine? Also asked for shadow.",
        opens="another version, or upm quarantine release after looking at it",
    ),
    Guide(
        gate="lineage",
        of="both",
        asks="Did it learn on from nothing that was rolled back?",
        opens="a snapshot made since the rollback",
    ),
    Guide(
        gate="feature",
        of="both",
        asks="Is features.unified_model on? Shadow needs no switch.",
        opens="features.unified_model: true",
    ),
    Guide(
        gate="bytes",
        of="both",
        asks="Are the snapshot's bytes those that were written?",
        opens="the file from a backup, or another version",
    ),
    Guide(
        gate="signature",
        of="both",
        asks="With snapshot_manager.require_signature: has a believed key signed it? Shadow needs no signature.",
        opens="upm snapshot sign, by an admin; a lost or revoked key: upm keys rotate",
    ),
    Guide(
        gate="role",
        of="both",
        asks="May this operating system user do it (policy.actors)?",
        opens="a role in policy.actors, given by whoever keeps upm.yaml",
    ),
    Guide(
        gate="policy",
        of="both",
        asks="May these tenants be in a canary, and was the lineage min_shadow_hours in shadow?",
        opens="policy.canary_tenants, or time in shadow",
    ),
    Guide(
        gate="freeze",
        of="both",
        asks="Is nothing frozen, by a person or by rollout.freeze?",
        opens="the end of the freeze",
    ),
    Guide(
        gate="evidence",
        of="both",
        asks="Did a contest on the same windows pass: about this candidate, begun at this stage, and not stale?",
        opens="labelled windows; a verdict of harm is never excepted",
    ),
    Guide(
        gate="feature_drift",
        of="rollout",
        asks="With rollout.on_feature_drift hold: are the windows that come like those the live version learned from?",
        opens="the end of the drift, or a version that learned from such windows made live by hand",
    ),
    Guide(
        gate="hold",
        of="rollout",
        asks="Did the stage last as long as rollout.stages says?",
        opens="time, or upm rollout promote",
    ),
    Guide(
        gate="automatic",
        of="rollout",
        asks="May it go on by itself (rollout.automatic)?",
        opens="upm rollout promote",
    ),
    Guide(
        gate="stages",
        of="rollout",
        asks="Is the stage it is in still in rollout.stages?",
        opens="the stages put back, or a new rollout",
    ),
    Guide(
        gate="rings",
        of="rollout",
        asks="Are the rings where the rollout left them, and no other canary under way?",
        opens="the other canary ended, or a new rollout",
    ),
    Guide(
        gate="pin",
        of="rollout",
        asks="Did no rollback pin the next ring since the rollout began?",
        opens="upm rollout promote: a person's word lifts it",
    ),
    Guide(
        gate="snapshot",
        of="rollout",
        asks="To leave shadow: is there a sound snapshot other than the champion?",
        opens="the next snapshot",
    ),
    Guide(
        gate="shadow",
        of="rollout",
        asks="To leave shadow: did the lineage have policy.min_shadow_hours there, counted while it was judged?",
        opens="time in shadow",
    ),
    Guide(
        gate="readiness",
        of="rollout",
        asks="To leave shadow: time in shadow, enough quiet drift windows, no quarantine lately?",
        opens="see upm rollout readiness",
    ),
    Guide(
        gate="start",
        of="rollout",
        asks="Was it started?",
        opens="upm rollout start",
    ),
    Guide(
        gate="paused",
        of="rollout",
        asks="Is it not paused?",
        opens="upm rollout resume",
    ),
)

"""The ways the world can look when a decision about a rollout is made: verdicts, clocks, gates, tenants."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final

from upm_cli.core.gates import OVERRIDABLE
from upm_cli.core.rollouts.policy import RolloutPolicy

# (words, wall units, monotonic units or None for another boot, units that may count)
TIMES: Final = (
    ("at once", 0, 0, 0),
    ("two units later", 2, 2, 2),
    ("after the wall clock jumped far ahead", 400, 0, 0),
    ("after the wall clock jumped far back", -400, 0, 0),
    ("after a reboot, days later", 300, None, 1),
    ("after a reboot with the wall clock far back", -400, None, 0),
)
STALE: Final = "a stale pass"
PASS: Final = "a fresh pass"  # noqa: S105 (not a password)
FAIL: Final = "harm"
EVIDENCE: Final = (
    PASS,
    FAIL,
    "no evidence",
    "an undecided contest",
    "a pass of the stage before",
    "a pass of the stage after",
    STALE,
    "a pass from the future",
    "a pass on no windows",
    "a pass on windows from before the stage",
    "a pass on windows nobody has judged",
    "a pass of another rollout",
    "a pass of another version",
    "a pass against another champion",
    "a pass with a number that is none",
    "harm of another rollout",
)
CLEAR: Final = "every gate open"
QUARANTINED: Final = "the candidate quarantined"
ONE_HARMED: Final = "one tenant harmed"
MANY_HARMED: Final = "most tenants harmed"
PINNED: Final = "the ring pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One way the world can look when a decision is made."""

    time: int
    evidence: str
    gates: str
    override: str = ""

    def words(self) -> str:
        said = f"{TIMES[self.time][0]}, with {self.evidence} and {self.gates}"
        return said + (f", gate {self.override} overridden" if self.override else "")


class Depth(StrEnum):
    """How many looks are tried in a state."""

    WHOLE = "whole"
    FEW = "few"  # those that differ most


def closed_gates(policy: RolloutPolicy, depth: Depth) -> list[str]:
    """Return what must close the way, besides evidence and time."""
    asked = dict.fromkeys((*policy.required_gates, *policy.leave_shadow_gates))
    names = policy.required_gates[-1:] if depth is Depth.FEW else tuple(asked)
    some = (
        *(f"gate {name} saying no" for name in names),
        *(f"gate {name} missing" for name in names),
        PINNED,
        "a freeze",
        "no snapshot",
        "nobody knowing of a quarantine",
        QUARANTINED,
        MANY_HARMED,
    )
    if depth is Depth.FEW:
        return [*some]
    more = ("only the champion's snapshot", "too little time in shadow", "unknown time in shadow")
    return [*some, *more, ONE_HARMED]


def looks(policy: RolloutPolicy, depth: Depth) -> list[Look]:
    """Return the looks to try in every state: verdicts × time, and verdicts × everything that closes the way."""
    verdicts = (PASS, FAIL, "no evidence", "an undecided contest")
    closed = closed_gates(policy, depth)
    if depth is not Depth.WHOLE:
        found = [Look(time=time, evidence=each, gates=CLEAR) for each, time in product((*verdicts, STALE), (0, 1))]
        return found + [Look(time=1, evidence=PASS, gates=each) for each in closed]
    found = [Look(time=time, evidence=each, gates=CLEAR) for each, time in product(EVIDENCE, range(len(TIMES)))]
    return found + [Look(time=1, evidence=each, gates=shut) for each, shut in product(verdicts, closed)]


def asked_looks(policy: RolloutPolicy, depth: Depth) -> list[Look]:
    """Return the looks under which people ask for the next step, with and without overrides."""
    evidence = EVIDENCE if depth is Depth.WHOLE else (PASS, FAIL, "no evidence", STALE)
    found = [Look(time=0, evidence=each, gates=CLEAR, override=over) for each in evidence for over in ("", "evidence")]
    for shut in closed_gates(policy, depth):
        found.append(Look(time=0, evidence=PASS, gates=shut))
        over = next((each for each in OVERRIDABLE if each in shut), "policy")
        if depth is not Depth.FEW:
            found.append(Look(time=0, evidence=PASS, gates=shut, override=over))
    return found

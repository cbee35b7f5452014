"""What a look at a rollout can decide. Values: `ops.rollout` carries them out and puts them on the record."""

from dataclasses import dataclass
from typing import Any, ClassVar

from upm_cli.core.gates import GateResult
from upm_cli.core.plain import to_plain
from upm_cli.core.records import Ring
from upm_cli.core.rollouts.state import RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The rollout begins in shadow."""

    kind: ClassVar[str] = "start"
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activate:
    """Serve `version` to `percent` of the tenants by `ring`; good for `expected_epoch` only."""

    kind: ClassVar[str] = "activate"
    ring: Ring
    percent: int
    version: int
    expected_epoch: int
    stage: int  # the one that begins
    actor: str  # empty: automatic
    reason: str
    gates: tuple[GateResult, ...]  # everything that allowed it, with numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Take `version` out of `rings`, for `to` (None: there was no champion; serve nothing, or an older sound one).

    `is_bad`: quarantine it and put the trainer back; otherwise only the rings go back. `is_again`: it was decided
    before and is not seen in the rings yet.
    """

    kind: ClassVar[str] = "rollback"
    version: int
    to: int | None
    rings: tuple[Ring, ...]
    expected_epoch: int
    cause: str  # harm | quarantine | operator
    reason: str
    is_bad: bool
    is_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """No step now: what each gate that holds it back says, the first one first."""

    kind: ClassVar[str] = "hold"
    gates: tuple[GateResult, ...]
    is_news: bool  # the gates are others than at the last look

    @property
    def gate(self) -> str:
        return self.gates[0].gate

    @property
    def detail(self) -> str:
        return self.gates[0].detail

    @property
    def satisfy(self) -> str:
        return self.gates[0].satisfy


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteUnknown:
    """A step is due and the evidence does not say yes; it pauses when that lasts `deadline_ms`."""

    kind: ClassVar[str] = "note_unknown"
    detail: str
    unknown_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Stay as it is until a person resumes, promotes or aborts."""

    kind: ClassVar[str] = "pause"
    cause: str  # operator | harm | quarantine | unknown
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    kind: ClassVar[str] = "resume"
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """The candidate is the champion now: the rollout is done."""

    kind: ClassVar[str] = "promote"
    version: int
    actor: str
    reason: str
    gates: tuple[GateResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """The rollout ends. `cause`: operator asked for it, or the rings were moved by somebody else (overtaken)."""

    kind: ClassVar[str] = "abort"
    cause: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A new rollout of the same trainer begins in shadow, after `after`."""

    kind: ClassVar[str] = "retry"
    after: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTenant:
    """The candidate harms this tenant: it goes back to the champion, the others go on."""

    kind: ClassVar[str] = "hold_tenant"
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """These tenants are let in early, so that enough are exposed."""

    kind: ClassVar[str] = "admit"
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The rings and the kept state differed, and the rings are right.

    `what`: not_done (a decided step never reached the rings, or was lost with the state's commit), done (a step in
    the rings that the state did not know of), champion (another version is live in ring global, in shadow).
    """

    kind: ClassVar[str] = "found"
    what: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """The wall clock moved otherwise than time did; only `counted_ms` count."""

    kind: ClassVar[str] = "clock_jump"
    what: str  # backwards | forwards | capped (a gap over a reboot longer than max_gap_ms)
    wall_ms: int  # by the wall clock
    counted_ms: int


Decision = (
    Start
    | Activate
    | Rollback
    | Hold
    | NoteUnknown
    | Pause
    | Resume
    | Promote
    | Abort
    | Retry
    | HoldTenant
    | Admit
    | Found
    | ClockJump
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The outcome of one look: the state from now on, and what was decided."""

    state: RolloutState
    decisions: tuple[Decision, ...] = ()

    @property
    def hold(self) -> Hold | None:
        return next((each for each in self.decisions if isinstance(each, Hold)), None)

    @property
    def is_news(self) -> bool:
        """Whether something was decided that belongs on the record; being held back as before is not."""
        return any(
            each.is_news if isinstance(each, Hold) else not (isinstance(each, Rollback) and each.is_again)
            for each in self.decisions
        )


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as a plain object with its `kind`."""
    return {"kind": decision.kind, **to_plain(decision)}

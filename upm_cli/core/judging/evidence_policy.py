"""What counts as harm, what as not worse, and how sure to be: the numbers a contest is judged by."""

from dataclasses import dataclass

from upm_cli.core.judging.spending import candidate_alpha, stage_alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePolicy:
    """How a challenger is compared with a champion. Names are those of the `evidence` section.

    `alpha_harm` is divided evenly among the three ways to see harm: mean loss, bad misses, single tenants. Each third
    is spent once for the life of a contest. `alpha_promote` is cut down for candidate number `candidate` by e-LOND, and
    divided among the stages; each attempt at a stage spends its own share (`spending`).
    """

    margin: float = 0.01  # mean loss a challenger may be worse by and still count as not worse
    harm_margin: float = 0.01  # mean loss it must be worse by to count as harmful
    tail_margin: float = 0.01  # share of bad misses it must have more to count as harmful
    tail_threshold: float = 0.5  # a loss that reaches this is a bad miss
    alpha_harm: float = 0.01  # chance that a harmless challenger is ever called harmful
    alpha_promote: float = 0.05  # share of promotions that may be wrong
    stages: int = 8  # verdicts of "not worse" a challenger needs on its way
    candidate: int = 1  # how many challengers have been tried, this one included
    promoted: int = 0  # how many of those before it were promoted
    clip: float = 0.1  # a block's mean difference counts at most this much, either way
    block_size: int = 50  # windows whose mean difference is one piece of evidence
    tenant_block_size: int = 20  # the same for one tenant
    max_tenants: int = 2000  # tenants with evidence of their own; those that come later share one
    harmed_share: float = 0.5  # more than this share of tenants with a full block harmed: it fails for all
    max_missing: float = 0.02  # share of windows the challenger alone may leave without a loss
    report_tenants: int = 20  # tenants listed in findings, worst first; harmed ones always are

    def __post_init__(self) -> None:
        for name in ("margin", "harm_margin", "tail_margin"):
            if not 0 <= getattr(self, name) < self.clip:
                raise ValueError(f"{name} must be at least 0 and below clip ({self.clip}), got {getattr(self, name)}")
        for name in ("tail_threshold", "clip"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("alpha_harm", "alpha_promote"):
            if not 0 < getattr(self, name) <= 0.5:
                raise ValueError(f"{name} must be above 0 and at most 0.5, got {getattr(self, name)}")
        for name in ("harmed_share", "max_missing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        for name, least in (("block_size", 20), ("tenant_block_size", 20), ("max_tenants", 1), ("stages", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.report_tenants < 0:
            raise ValueError(f"report_tenants must not be negative, got {self.report_tenants}")
        candidate_alpha(self.alpha_promote, self.candidate, self.promoted)

    @property
    def harm_share(self) -> float:
        """Alpha of each of the three harm tests."""
        return self.alpha_harm / 3

    @property
    def alpha_candidate(self) -> float:
        """What is left of `alpha_promote` for this candidate, over all stages."""
        return candidate_alpha(self.alpha_promote, self.candidate, self.promoted)

    def alpha_stage(self, attempt: int) -> float:
        """What is left of it for one attempt at one stage."""
        return stage_alpha(self.alpha_candidate, self.stages, attempt)

    def scaled(self, difference: float) -> float:
        """Map a difference of losses in [-clip, clip] to [0, 1]."""
        return (difference + self.clip) / (2 * self.clip)

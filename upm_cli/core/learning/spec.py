"""What a learner is to be: one frozen value, checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from upm_cli.errors import InvalidError

TASKS: Final = ("binary", "multiclass", "regression", "structured")
OPTIMIZERS: Final = ("sgd", "adagrad", "adam", "ftrl")
SCALERS: Final = ("max_abs", "none")
SCHEDULES: Final = ("constant", "inverse_scaling", "cosine")
LOSSES: Final[Mapping[str, tuple[str, ...]]] = {  # the first of each task is its default
    "binary": ("logistic",),
    "multiclass": ("softmax",),
    "regression": ("squared", "huber"),
    "structured": ("squared", "huber"),
}
DEFAULT_RATES: Final[Mapping[str, float]] = {"sgd": 0.001, "adagrad": 0.45, "adam": 0.02, "ftrl": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """How to learn. Two learners with equal specs that see the same windows have the same bytes.

    `task` may be "auto" until the labels decide it (`resolved`). `learning_rate` None is the optimizer's own.
    `momentum` is for sgd; `weight_decay` (decoupled, times the rate) for all but ftrl; `l1`, `l2` for ftrl.
    `clip` limits the gradient norm of a single window (0: no limit). `schedule` changes the rate with the number
    of windows learned t: inverse_scaling divides by (1 + t)^`schedule_power`, cosine falls to 1 % over
    `schedule_windows`; `warmup_windows` > 0 raises it linearly first. Raises InvalidError naming every problem.
    """

    task: str = "auto"
    kind: str = "linear"
    optimizer: str = "adagrad"
    loss: str = "auto"
    learning_rate: float | None = None
    bits: int = 18
    batch_size: int = 32
    momentum: float = 0.0
    weight_decay: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    huber_delta: float = 1.0
    clip: float = 0.0
    scaler: str = "max_abs"
    schedule: str = "constant"
    schedule_power: float = 0.25
    schedule_windows: int = 1_000_000
    warmup_windows: int = 0
    max_classes: int = 1000
    outputs: int = 0  # structured: how many numbers a label has; otherwise 0

    def __post_init__(self) -> None:
        found = problems({field.name: getattr(self, field.name) for field in fields(self)})
        if found:
            raise InvalidError(
                "the learner can't be as specified: " + "; ".join(f"{name} {what}" for name, what in found),
                hint="correct the learner section of upm.yaml",
                code="UPM-E037",
                context={"problems": [{"field": name, "problem": what} for name, what in found]},
            )

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """Return the spec that `dataclasses.asdict` made `meta` from; an unknown field is an InvalidError."""
        unknown = sorted(set(meta) - {field.name for field in fields(cls)})
        if unknown:
            raise InvalidError(
                f"the learner has unknown fields: {', '.join(unknown)}",
                hint="it was written by a newer upm; use that one",
                code="UPM-E037",
            )
        return cls(**meta)

    def resolved(self, task: str, outputs: int = 0) -> Self:
        """Return the spec with its task decided; `outputs` counts the names of a structured label."""
        return replace(self, task=task, outputs=outputs)

    @property
    def rate(self) -> float:
        """The learning rate to start from."""
        return DEFAULT_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def loss_name(self) -> str:
        """The loss that is minimised; the task must be decided."""
        return LOSSES[self.task][0] if self.loss == "auto" else self.loss


def problems(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (field, what is wrong) for all that can't be, in the order of the fields."""
    found: list[tuple[str, str]] = []

    def need(ok: bool, name: str, what: str) -> None:
        if not ok:
            found.append((name, f"{what}, got {values[name]!r}"))

    for name, choices in (
        ("task", ("auto", *TASKS)),
        ("kind", ("linear",)),
        ("optimizer", OPTIMIZERS),
        ("loss", ("auto", "logistic", "softmax", "squared", "huber")),
        ("scaler", SCALERS),
        ("schedule", SCHEDULES),
    ):
        need(values[name] in choices, name, f"must be one of {', '.join(choices)}")
    for name, low, high in (
        ("bits", 1, 28),
        ("batch_size", 1, 65_536),
        ("schedule_windows", 1, 10**15),
        ("warmup_windows", 0, 10**15),
        ("max_classes", 2, 65_536),
        ("outputs", 0, 65_536),
    ):
        value = values[name]
        ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        need(ok, name, f"must be a whole number from {low} to {high}")
    for name, low_excluded, limit in (
        ("momentum", False, 1.0),
        ("weight_decay", False, 1.0),
        ("l1", False, 1e6),
        ("l2", False, 1e6),
        ("huber_delta", True, 1e12),
        ("clip", False, 1e12),
        ("schedule_power", True, 4.0),
    ):
        value = values[name]
        ok = _is_number(value) and 0 <= value < limit and not (low_excluded and value == 0)
        need(ok, name, f"must be a number {'above 0' if low_excluded else 'from 0'} and below {limit:g}")
    rate = values["learning_rate"]
    need(rate is None or (_is_number(rate) and 0 < rate <= 1000), "learning_rate", "must be above 0 and at most 1000")
    return found or _disagreements(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _disagreements(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return which valid values do not go together; a setting without effect is one of them."""
    found: list[tuple[str, str]] = []
    optimizer, task, loss = values["optimizer"], values["task"], values["loss"]
    if task != "auto" and loss not in ("auto", *LOSSES[task]):
        found.append(("loss", f"{loss} is not for {task} labels"))
    if task == "structured" and not values["outputs"]:
        found.append(("outputs", "must be given for structured labels"))
    if task != "structured" and values["outputs"]:
        found.append(("outputs", f"is for structured labels only, not {task}"))
    for name, users in (("momentum", ("sgd",)), ("l1", ("ftrl",)), ("l2", ("ftrl",))):
        if values[name] and optimizer not in users:
            found.append((name, f"does nothing with {optimizer}"))
    if optimizer == "ftrl":
        if values["weight_decay"]:
            found.append(("weight_decay", "does nothing with ftrl; use l2"))
        if values["schedule"] != "constant" or values["warmup_windows"]:
            found.append(("schedule", "does nothing with ftrl, which has a rate for each weight"))
    return found

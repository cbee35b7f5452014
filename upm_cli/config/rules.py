"""What settings must agree on with each other. Checked once each of them is valid by itself."""

from collections.abc import Callable, Mapping

from upm_cli.config.problems import Place, Problem
from upm_cli.config.schema import Settings
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.notices import TOPICS
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.stage_text import parse_stage

_LOSSES = {
    "binary": ("auto", "logistic"),
    "multiclass": ("auto", "softmax"),
    "regression": ("auto", "squared", "huber"),
    "structured": ("auto", "squared", "huber"),
}
_ONLY = {  # setting of the learner → the optimizers that have it
    "momentum": ("sgd",),
    "weight_decay": ("sgd", "adagrad", "adam"),
    "warmup_windows": ("sgd", "adagrad", "adam"),
    "l1": ("ftrl",),
    "l2": ("ftrl",),
}


def check_rules(settings: Settings, places: Mapping[str, Place]) -> list[Problem]:
    """Return what does not go together. `places` has where each setting that was given is written."""
    learner = settings.learner
    problems: list[Problem] = []

    def add(path: str, message: str, fix: str) -> None:
        place = places.get(path, Place(where="default"))
        problems.append(Problem(code="UPM-C030", message=message, place=place, key=path, fix=fix))

    allowed = _LOSSES.get(learner.task)
    if allowed is not None and learner.loss not in allowed:
        add("learner.loss", f"loss {learner.loss} is not for {learner.task} labels", f"use {', '.join(allowed)}")
    if learner.schedule != "constant" and learner.optimizer == "ftrl":
        add("learner.schedule", "a schedule does nothing with optimizer ftrl", "remove it, or use another optimizer")
    for name, optimizers in _ONLY.items():
        if getattr(learner, name) and learner.optimizer not in optimizers:
            message = f"{name} does nothing with optimizer {learner.optimizer}"
            add(f"learner.{name}", message, f"remove it, or use {' or '.join(optimizers)}")
    _check_stages(settings, add)
    _check_webhooks(settings, add)
    return problems


def _check_stages(settings: Settings, add: Callable[[str, str, str], None]) -> None:
    """Check that the stages of a rollout lead from shadow to everybody, and the budget of false alarms."""
    example = "write them as in: shadow, canary 5% for 24h, global 100%"
    try:
        stages = tuple(parse_stage(text) for text in settings.rollout.stages)
        RolloutPolicy(stages=stages)
    except ValueError as exc:
        add("rollout.stages", str(exc), example)
    for name in ("margin", "harm_margin"):
        if getattr(settings.evidence, name) >= settings.evidence.clip:
            add(f"evidence.{name}", f"{name} must be smaller than clip ({settings.evidence.clip:g})", "raise clip")
    try:
        FalseAlarmBudget.parse(settings.evidence.false_alarms)
    except ValueError as exc:
        add("evidence.false_alarms", str(exc), "write it as in: 1 per 90d")


def _check_webhooks(settings: Settings, add: Callable[[str, str, str], None]) -> None:
    for webhook in settings.notify.webhooks:
        if not webhook.url:
            add("notify.webhooks", f"webhook {webhook.name} has no url", "url: https://…")
        if unknown := [topic for topic in webhook.topics if topic not in TOPICS]:
            known = f"known: {', '.join(TOPICS)}"
            add("notify.webhooks", f"webhook {webhook.name} asks for {unknown[0]!r}, which is no topic", known)

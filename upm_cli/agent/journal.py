"""What an agent notes down: how often it has predicted, what, and what came of it."""

import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from upm_cli.agent import encoding
from upm_cli.agent.encoding import Features
from upm_cli.agent.errors import AgentUsageError, FeaturesError
from upm_cli.agent.lines import Record, outcome_line
from upm_cli.agent.log import Log
from upm_cli.agent.values import Prediction, Problem
from upm_cli.clock import Clock
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.sources.labels import parse_label
from upm_cli.sources.refusal import Refusal

REMEMBERED: Final = 10_000  # predictions whose outcome is logged together with what was served
MAX_ID_BYTES: Final = 256


class Journal:
    """The notes of one agent. Without a log it only counts."""

    def __init__(self, log: Log | None, agent: str, clock: Clock, *, features: bool) -> None:
        self.predictions = 0
        self.keeps_features = log is not None and features
        self._log, self._agent, self._clock = log, agent, clock
        self._newest: OrderedDict[str, Record] = OrderedDict()  # without features
        self._lock = threading.Lock()

    def note(
        self,
        pointer: Pointer,
        made: Prediction,
        features: Features,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """Note a prediction by a model of `pointer` for `features`. Raises FeaturesError for impossible times."""
        start_ms, end_ms = _window(start, end, made.predicted_at_ms)
        record = Record(made, pointer.trainer, pointer.tenant, start_ms, end_ms)
        if self._log is not None:
            kept = replace(record, features=encoding.copied(features)) if self.keeps_features else record
            self._log.put(kept)
        with self._lock:
            self.predictions += 1
            if self._log is not None:
                self._newest[made.id] = record
                if len(self._newest) > REMEMBERED:
                    self._newest.popitem(last=False)

    def report(self, prediction_id: str, outcome: Any, *, acted: bool) -> None:
        """Log what came of a prediction. Raises AgentUsageError without a log, FeaturesError for what is no label."""
        if self._log is None:
            raise AgentUsageError("this agent has no log to report to", hint="Agent.open(…, log_dir=…)")
        line = outcome_line(
            identifier(prediction_id, "prediction_id"),
            _label(outcome),
            acted=acted,
            observed_at_ms=self._clock.now_ms(),
            agent=self._agent,
            record=self._newest.get(prediction_id),
        )
        self._log.put(line)

    def counts(self) -> tuple[int, int]:
        """Return how many lines were logged, and how many dropped."""
        return (self._log.written, self._log.dropped) if self._log else (0, 0)

    def problem(self) -> Problem | None:
        """Return why lines can't be logged at the moment, if they can't."""
        return self._log.problem if self._log else None

    def flush(self) -> None:
        """Write what waits for the log."""
        if self._log is not None:
            self._log.flush()

    def after_fork(self) -> None:
        """In a child process: count from nothing; what was predicted stays known."""
        self._lock = threading.Lock()
        self.predictions = 0
        if self._log is not None:
            self._log.after_fork()


def identifier(text: str, what: str) -> str:
    """Return `text` if it can be an id of a `what`. Raises FeaturesError."""
    try:
        if isinstance(text, str) and text.isprintable() and 0 < len(text.encode()) <= MAX_ID_BYTES:
            return text
    except UnicodeEncodeError:
        pass
    raise FeaturesError(f"{str(text)[:40]!r} is no {what}", hint=f"give 1 to {MAX_ID_BYTES} bytes of printable text")


def _label(outcome: Any) -> Any:
    """Return the label as JSON has it."""
    try:
        label = encoding.as_json(outcome)
        if label is None:
            raise Refusal("it is nothing")
        parse_label(label)
    except (Refusal, FeaturesError, UnicodeEncodeError) as exc:
        raise FeaturesError(
            f"{str(outcome)[:80]!r} is no outcome: {exc}",
            hint="a label: a number, a boolean, a class's name, or an object of numbers",
        ) from exc
    return label


def _window(start: datetime | None, end: datetime | None, at_ms: int) -> tuple[int, int]:
    """Return when a window was; where that is not said, it was the moment of the prediction."""
    start_ms = at_ms if start is None else _instant(start)
    end_ms = max(start_ms, at_ms) if end is None else _instant(end)
    if end_ms < start_ms:
        raise FeaturesError("window_end is before window_start", hint="a window begins before it ends")
    return start_ms, end_ms


def _instant(at: datetime) -> int:
    if at.tzinfo is None:
        raise FeaturesError(f"the time {at.isoformat()} has no time zone", hint="datetime.now(UTC)")
    return round(at.timestamp() * 1000)

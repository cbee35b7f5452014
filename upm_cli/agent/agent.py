"""The agent itself: what three lines of a program's code use."""

import os
import random
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from upm_cli.agent import acks, encoding, loading
from upm_cli.agent.encoding import Features
from upm_cli.agent.errors import AgentUsageError, NothingToServeError
from upm_cli.agent.follower import Follower
from upm_cli.agent.journal import Journal, identifier
from upm_cli.agent.log import Log
from upm_cli.agent.opening import Opened, open_place
from upm_cli.agent.poller import Poller
from upm_cli.agent.served import Served
from upm_cli.agent.values import Health, Prediction, Serving
from upm_cli.clock import Clock, SystemClock
from upm_cli.errors import UpmError
from upm_cli.ids import uuid7

_agents: "weakref.WeakSet[Agent]" = weakref.WeakSet()


class Agent:
    """Serves one tenant of one trainer from a model directory or a URL, and follows what is live there.

    Open it once and predict from as many threads as you like: a new model is swapped in between two predictions, and
    each prediction is of exactly one model. Whatever goes wrong with a new model, the one in use stays; `health()`
    tells. After a fork the child goes on by itself.

    >>> agent = Agent.open("/srv/models", tenant="acme")    # doctest: +SKIP
    >>> agent.predict({"hour": 9}).value                    # doctest: +SKIP
    1
    """

    def __init__(
        self,
        opened: Opened,
        *,
        log: Log | None,
        log_features: bool,
        poll_s: float,
        clock: Clock,
        chance: random.Random,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.name, self.trainer = opened.name, opened.trainer
        self._follower: Follower = opened.follower
        self._ack_root = opened.ack_root
        self._journal = Journal(log, opened.name, clock, features=log_features)
        self._clock, self._chance, self._random_bytes = clock, chance, random_bytes
        self._poll_s = poll_s
        self._acked_at_s: float | None = None
        self._acked_swaps = -1
        self._is_open, self._is_asleep = True, False
        self._wake_lock = threading.Lock()
        self._poller: Poller | None = None
        self._finalizer = weakref.finalize(self, _let_go, log)
        _agents.add(self)

    @classmethod
    def open(
        cls,
        location: str | Path,
        *,
        tenant: str | None = None,
        trainer: str | None = None,
        trust: Path | str | None = None,
        token_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        cache: Path | str | None = None,
        log_dir: Path | str | None = None,
        log: Log | None = None,
        log_features: bool = True,
        name: str | None = None,
        poll_s: float = 1.0,
        required: bool = True,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> Self:
        """Return an agent that serves what is live at `location` for `tenant`.

        `location` is a model directory, or the http(s) address of an `upm agent serve`. `tenant` None serves what is
        meant for windows without a tenant; there is no falling back to it from a named one. `trainer` may be left out
        where there is only one. With `trust`, a file that `upm keys export` makes, only what a trusted key signed is
        taken; without it, nobody looks at signatures. `token_file` holds the token for the URL, `ca_file` the
        certificates of who vouches for it, where that is none of the system's. `cache` is a folder of the agent's own,
        for what it needs at its next start (default: below $XDG_STATE_HOME). With `log_dir`, predictions are logged
        there, with their features unless `log_features` is false. `name` is how the agent calls itself (default: the
        host's name). It looks for something new about every `poll_s` seconds; 0: only in `refresh()`. With `required`
        false it opens although nothing is there yet, and predicts once there is. `log` is for whoever lets several
        agents write one log; `clock` and `chance` are for tests.

        Raises AgentError when there is nothing it may serve.
        """
        if poll_s < 0:
            raise AgentUsageError(f"poll_s can't be {poll_s}", hint="give seconds, or 0 to call refresh() yourself")
        used_clock = clock or SystemClock()
        opened = open_place(
            location,
            tenant=tenant,
            trainer=trainer,
            trust=trust,
            token_file=token_file,
            ca_file=ca_file,
            cache=cache,
            name=name,
            clock=used_clock,
        )
        opened.follower.begin(required=required)
        agent = cls(
            opened,
            log=log if log_dir is None else Log(Path(log_dir), opened.name, used_clock),
            log_features=log_features,
            poll_s=poll_s,
            clock=used_clock,
            chance=chance or random.Random(),  # noqa: S311 - spreads looks over time
            random_bytes=chance.randbytes if chance else os.urandom,
        )
        agent._acknowledge()
        agent._start()
        return agent

    def predict(
        self,
        features: Features,
        *,
        window_id: str | None = None,
        window_start: datetime | None = None,
        window_end: datetime | None = None,
    ) -> Prediction:
        """Predict one window from its features: names with numbers, booleans, texts, lists or objects.

        `window_id` and the times, with a time zone, are for the log; left out, they are the prediction's own.
        Raises FeaturesError, NothingToServeError.
        """
        served = self._serving()
        elements = encoding.plain(features)
        if elements is None:
            features = encoding.as_json(features)
            answers = served.loaded.model.predict_many(encoding.encode([features]))
        else:
            answers = served.loaded.model.predict_one(*elements)
        (decoded,) = served.loaded.labels.decode(answers)
        prediction = self._made(served, decoded, window_id, self._clock.now_ms())
        self._journal.note(served.pointer, prediction, features, window_start, window_end)
        return prediction

    def predict_many(
        self, windows: Sequence[Features], *, window_ids: Sequence[str | None] | None = None
    ) -> list[Prediction]:
        """Predict windows, in their order, all with one model. Raises FeaturesError naming the first bad one."""
        served = self._serving()
        answers = served.loaded.model.predict_many(encoding.encode(windows, is_list=True))
        at_ms = self._clock.now_ms()
        ids = window_ids if window_ids is not None else [None] * len(windows)
        decoded = served.loaded.labels.decode(answers)
        predictions = [self._made(served, each, own, at_ms) for each, own in zip(decoded, ids, strict=True)]
        for prediction, features in zip(predictions, windows, strict=True):
            self._journal.note(served.pointer, prediction, features)
        return predictions

    def report(self, prediction_id: str, outcome: Any, *, acted: bool = True) -> None:
        """Log what came of a prediction: its label. `acted`: the prediction had an influence on what happened.

        Raises AgentUsageError without a `log_dir`, FeaturesError when `outcome` is no label.
        """
        self._check_is_open()
        self._journal.report(prediction_id, outcome, acted=acted)

    def refresh(self) -> bool:
        """Look for something new now and take it; return whether what is served changed. `health()` tells why not."""
        self._check_is_open()
        changed = self._follower.look(force=True)
        self._acknowledge()
        return changed

    def take(self, envelope: bytes) -> Serving:
        """Take a pointer in its envelope as if it had been found at the location; return what is served then.

        For whoever receives pointers on an agent's behalf. Raises AgentError when it is refused; what was served stays.
        """
        self._check_is_open()
        serving = self._follower.take(envelope)
        self._acknowledge()
        return serving

    @property
    def serving(self) -> Serving:
        """What is served now. Raises NothingToServeError while there is nothing."""
        return self._serving().describe(self._clock.now_ms())

    @property
    def envelope(self) -> bytes:
        """The pointer that is served, in its envelope as it came. Raises NothingToServeError while there is none."""
        return self._serving().envelope

    def health(self) -> Health:
        """Tell how the agent is doing."""
        follower, served, now_ms = self._follower, self._follower.served, self._clock.now_ms()
        serving = None if served is None else served.describe(now_ms)
        is_stale = serving is not None and serving.is_stale
        problems = (follower.problem, follower.state_problem, self._journal.problem())
        logged, dropped = self._journal.counts()
        return Health(
            is_ok=serving is not None and not is_stale and problems == (None, None, None),
            serving=serving,
            is_stale=is_stale,
            last_error=problems[0],
            state_error=problems[1],
            log_error=problems[2],
            checked_at_ms=follower.checked_at_ms,
            predictions=self._journal.predictions,
            logged=logged,
            dropped=dropped,
            swaps=follower.swaps,
        )

    def flush(self) -> None:
        """Write what is waiting for the log. Nobody who predicts needs it."""
        self._journal.flush()

    def close(self) -> None:
        """Stop following, let go of the model, and finish the log. It can't predict any more."""
        self._is_open = False
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.stop()
        self._follower.let_go()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serving(self) -> Served:
        if self._is_asleep or not self._is_open:
            self._check_is_open()
        served = self._follower.served
        if served is None:
            problem = self._follower.problem
            raise NothingToServeError(
                f"there is no model to predict with yet{f': {problem.message}' if problem else ''}",
                hint=problem.hint if problem else "wait for the first one to be sent",
            )
        return served

    def _made(self, served: Served, decoded: Mapping[str, Any], window_id: str | None, at_ms: int) -> Prediction:
        own = uuid7(self._clock, self._random_bytes)
        pointer = served.pointer
        window = own if window_id is None else identifier(window_id, "window_id")
        return Prediction(own, window, pointer.version, pointer.place.epoch, pointer.digest, decoded, at_ms)

    def _check_is_open(self) -> None:
        """Raise AgentUsageError when it is closed. In a child process, go on where the parent was."""
        if not self._is_open:
            raise AgentUsageError("this agent is closed", hint="open another one: Agent.open(…)")
        with self._wake_lock:
            if self._is_asleep:
                self._start()
                self._is_asleep = False

    def _start(self) -> None:
        if self._poll_s > 0:
            self._poller = Poller(self, Agent._tick, self._poll_s, self._chance)

    def _tick(self) -> None:
        """Look once; the last place that catches what nobody thought of, as a thread that ended would look no more."""
        try:
            self._follower.look()
            self._acknowledge()
        except Exception as exc:
            self._follower.fail(exc if isinstance(exc, UpmError) else UpmError(f"{type(exc).__name__}: {exc}"))

    def _acknowledge(self) -> None:
        """Say what is served, where somebody may want to know: after each swap, and every minute."""
        served, root = self._follower.served, self._ack_root
        now_s, swaps = self._clock.monotonic_s(), self._follower.swaps
        is_due = self._acked_at_s is None or swaps != self._acked_swaps or now_s - self._acked_at_s >= acks.EVERY_S
        if served is None or root is None or not is_due:
            return
        self._acked_at_s, self._acked_swaps = now_s, swaps
        now_ms = self._clock.now_ms()
        acks.write(root, served.describe(now_ms), self.name, alive_at_ms=now_ms, predictions=self._journal.predictions)

    def _after_fork(self) -> None:
        """In a child process: forget the threads and locks of the parent; the first call starts new ones."""
        self._wake_lock = threading.Lock()
        self._poller = None
        self._journal.after_fork()
        self._follower.after_fork()
        if self._is_open:
            self._is_asleep = True


def _let_go(log: Log | None) -> None:
    if log is not None:
        log.close()


def _after_fork_in_child() -> None:
    loading.after_fork()
    for agent in list(_agents):
        agent._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

"""What an agent answers: predictions, what is served, and how it is doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from upm_cli.ids import iso


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer, and the model that gave it.

    `decoded` is exactly what `upm predict` says of the window: `prediction`, and for classes `probability` (of 1, or of
    the class predicted) and `probabilities`.
    """

    id: str
    window_id: str
    version: int
    epoch: int
    digest: str
    decoded: Mapping[str, Any]
    predicted_at_ms: int

    @property
    def value(self) -> Any:
        """A number, 0 or 1 (or a boolean, as the labels were), a class's name, or numbers by name."""
        return self.decoded["prediction"]

    @property
    def probability(self) -> float | None:
        """Of 1, or of the class predicted; None where numbers are predicted."""
        return self.decoded.get("probability")

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """Of each class by name; None where there are no classes."""
        return self.decoded.get("probabilities")

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as plain values."""
        about = {"prediction_id": self.id, "window_id": self.window_id, "version": self.version, "epoch": self.epoch}
        return {**about, **self.decoded}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What an agent serves at this moment. `is_stale`: it has heard nothing newer for longer than it should."""

    trainer: str
    tenant: str | None
    version: int
    digest: str
    epoch: int
    serial: int
    ring: str
    kind: str  # activate | rollback
    loaded_at_ms: int
    expires_at_ms: int | None
    is_stale: bool
    keyid: str | None  # of the key that signed the pointer; None where signatures are not looked at

    def ack(self, agent: str) -> dict[str, Any]:
        """Return what `agent` tells whoever sent the model."""
        return {
            "schema_version": 1,
            "agent": agent,
            "trainer": self.trainer,
            "tenant": self.tenant or "",
            "version": self.version,
            "digest": self.digest,
            "epoch": self.epoch,
            "serial": self.serial,
            "loaded_at": iso(self.loaded_at_ms),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the newest look did not do what it should, and since when that is so."""

    code: str
    message: str
    hint: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an agent is doing. `is_ok`: it serves, what it serves is not stale, and nothing is wrong.

    `last_error` is about the newest look for a model, `state_error` about what it keeps for its next start,
    `log_error` about its prediction log.
    """

    is_ok: bool
    serving: Serving | None
    is_stale: bool
    last_error: Problem | None
    state_error: Problem | None
    log_error: Problem | None
    checked_at_ms: int | None  # when it last looked, and was answered
    predictions: int  # since it was opened
    logged: int  # lines
    dropped: int  # lines: of a full queue, a full disk, or of files that had to go as the log was full
    swaps: int

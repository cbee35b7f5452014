"""Which models a trainer has made: what an agent says it answered with must be one of them."""

from typing import TYPE_CHECKING

from upm_cli.core.feedback.lines import Outcome, Prediction
from upm_cli.store import snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store


class Models:
    """The versions and digests of one trainer; read again when one is not known yet."""

    def __init__(self, store: "Store", trainer: str) -> None:
        self._store, self._trainer = store, trainer
        self._digests: dict[int, str] = {}
        self._last = 0
        self._token: tuple[int, int] | None = None
        self._look()

    def why_not(self, line: Prediction | Outcome) -> str:
        """Return why the model of a line can't be one of this trainer; nothing if it can.

        Of a version that was deleted since nobody knows the digest any more: it is believed.
        """
        made = line if isinstance(line, Prediction) else line.served
        if made is None:
            return ""
        if self._digests.get(made.version) != made.digest:
            self._look()
        known = self._digests.get(made.version)
        if known is not None and known != made.digest:
            return f"version {made.version} of {self._trainer} has another digest"
        if known is None and made.version > self._last:
            return f"{self._trainer} has made no version {made.version} yet"
        return ""

    def _look(self) -> None:
        token = self._store.token()
        if token == self._token:
            return
        with self._store.read() as reader:
            self._last = trainers.get(reader, self._trainer).last_version
            self._digests = {row.version: row.digest for row in snapshots.list_for(reader, self._trainer)}
        self._token = token

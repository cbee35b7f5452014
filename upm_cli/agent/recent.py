"""How often an agent has predicted, and the newest of its predictions, for outcomes that come soon."""

import threading
from collections import OrderedDict
from typing import Final

from upm_cli.agent.lines import Record

REMEMBERED: Final = 10_000


class Recent:
    """The newest predictions by their ids; features are not kept."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self.predictions = 0
        self._most = most
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, predictions: int) -> None:
        """Count predictions."""
        with self._lock:
            self.predictions += predictions

    def add(self, record: Record) -> None:
        """Remember one, and forget the oldest when there are too many."""
        with self._lock:
            self._records[record.prediction.id] = record
            if len(self._records) > self._most:
                self._records.popitem(last=False)

    def get(self, prediction_id: str) -> Record | None:
        """Return the prediction with that id if it is remembered."""
        with self._lock:
            return self._records.get(prediction_id)

    def after_fork(self) -> None:
        """In a child process: count from nothing; what was predicted stays known."""
        self._lock = threading.Lock()
        self.predictions = 0

"""The states of a trainer in signs and in order, for everything that shows them."""

from typing import Final

#: Worst first: what needs a person stands on top.
ORDER: Final = {"quarantined": 0, "errored": 1, "paused": 2, "training": 3, "idle": 4}
#: A symbol for each state, so that colour is never needed.
SYMBOLS: Final = {"quarantined": "◆", "errored": "✗", "paused": "‖", "training": "●", "idle": "○"}

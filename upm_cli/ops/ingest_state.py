"""What an ingest worker has to know to go on: its replay buffer and a few facts, as one blob with every commit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from upm_cli.core.records import Stream
from upm_cli.core.replay import ReplayBuffer
from upm_cli.core.window import I64Array
from upm_cli.errors import IntegrityError
from upm_cli.store import blobs, fsio, streams

if TYPE_CHECKING:
    from upm_cli.store.session import Store


KEPT_STATES: Final = 12  # saved states that stay on disk: more than the state keeps generations of itself


class SavedStates:
    """The blobs that one worker has saved: the newest stay, older ones go as nothing refers to them any more."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._saved: list[blobs.Blob] = []

    @property
    def newest_bytes(self) -> int:
        """How large the newest one is on disk."""
        return self._saved[-1].size_bytes if self._saved else 0

    def add(self, newest: blobs.Blob) -> None:
        """Note that a commit refers to `newest` now."""
        self._saved = [blob for blob in self._saved if blob.digest != newest.digest] + [newest]
        for blob in self._saved[:-KEPT_STATES]:
            fsio.remove_quietly(self._home / blob.path)
        self._saved = self._saved[-KEPT_STATES:]


def encode(stream: Stream, buffer: ReplayBuffer, recent_gaps: I64Array, *, rows_since_end: bool) -> bytes:
    """Return the state as safetensors. The name is part of it, so that no two streams share a blob."""
    from safetensors.numpy import save

    own = {
        "stream": np.frombuffer(stream.name.encode(), np.uint8),
        "recent_gaps": recent_gaps,
        "rows_since_end": np.array([rows_since_end]),
    }
    return save({name: np.ascontiguousarray(array) for name, array in (buffer.to_arrays() | own).items()})


def load(store: "Store", stream: Stream) -> dict[str, Any]:
    """Return the arrays of the saved buffer of a stream that has one. Raises IntegrityError when they are damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as decode

    assert stream.state_digest is not None
    try:
        arrays: dict[str, Any] = decode(blobs.get(store.home, stream.state_digest))
    except SafetensorError as exc:
        raise damaged(stream, str(exc)) from exc
    if int(arrays["next_seq"][0]) != stream.next_seq:
        raise damaged(stream, f"it ends at log row {int(arrays['next_seq'][0])}, the state at {stream.next_seq}")
    return arrays


def recent_gaps(store: "Store", name: str) -> list[tuple[int, int]]:
    """Return the newest gaps of a stream as (from, to) in Unix milliseconds, oldest first."""
    with store.read() as reader:
        stream = streams.find(reader, name)
    if stream is None or stream.state_digest is None:
        return []
    return [(int(a), int(b)) for a, b in load(store, stream)["recent_gaps"]]


def damaged(stream: Stream, why: str) -> IntegrityError:
    """Return the error for a saved buffer that can't be trusted."""
    return IntegrityError(
        f"the replay buffer of stream {stream.name} can't be used: {why}",
        hint="restore .upm/blobs from a backup, or ingest again into another stream",
        code="UPM-E098",
        context={"stream": stream.name, "digest": stream.state_digest},
    )

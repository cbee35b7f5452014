"""What one agent serves, and how that changes: a pointer is looked at, proven, held against what was seen, and taken.

    envelope ─▶ signature ─▶ ratchet ─▶ model: size, sha256, unpacked, digest, format, signature ─▶ swap ─▶ remembered

Whatever fails on the way changes nothing: what is served stays. The swap comes before it is remembered, so that a full
disk or a slow one holds up no way back; who is told that it is served is told after that.
"""

import contextlib
import threading
from typing import Final

from upm_cli.agent.directory import model_opener
from upm_cli.agent.errors import AgentError, NothingToServeError, NotTakenError, UnreachableError, as_damage
from upm_cli.agent.files import Stamp
from upm_cli.agent.loading import Loaded, OpenFile, load
from upm_cli.agent.served import Origin, Served
from upm_cli.agent.state import State
from upm_cli.agent.trust import TrustFile, signed_by
from upm_cli.agent.values import Problem, Serving
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope, statement
from upm_cli.core.delivery import pointer as pointers
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.core.delivery.ratchet import REFUSED, Seen, Took, after, decide
from upm_cli.core.delivery.trust import Trust
from upm_cli.errors import UpmError
from upm_cli.ids import iso

Stamps = tuple[Stamp | None, Stamp | None]  # of the pointer, and of the trust file

FIRST_PAUSE_S: Final = 1.0  # before what failed is tried again, although nothing has changed
MAX_PAUSE_S: Final = 60.0
MAX_ABSENCE_S: Final = 10.0  # the same, where nobody answered: that is cheap to find out


class Follower:
    """Keeps what is served by one (trainer, tenant) up with where its pointers come from.

    `served` is read without a lock, as often as anybody likes. Everything else takes turns.
    """

    def __init__(
        self, origin: Origin, trainer: str, tenant: str, *, state: State, trust: TrustFile | None, clock: Clock
    ) -> None:
        self.served: Served | None = None
        self.problem: Problem | None = None
        self.state_problem: Problem | None = None
        self.checked_at_ms: int | None = None
        self.swaps = 0
        self._origin, self._trainer, self._tenant = origin, trainer, tenant
        self._state, self._trust, self._clock = state, trust, clock
        self._previous: Served | None = None  # a way back that needs no disk
        self._seen: Seen | None = None
        self._is_kept = True
        self._looked: Stamps | None = None  # the stamps at the newest look that found all well
        self._failures, self._again_s = 0, 0.0
        self._failed_at: Stamps = (None, None)
        self._lock = threading.Lock()

    def begin(self, *, required: bool) -> None:
        """Serve what is there, or else what was taken before. Raises AgentError when that is nothing and `required`."""
        with self._lock:
            try:
                self._attempt(self._stamps())
            except AgentError:
                self._resume()
                if self.served is None and required:
                    raise
            self._keep()

    def look(self, *, force: bool = False) -> bool:
        """Look whether something new is there and take it; return whether what is served changed. Raises nothing."""
        with self._lock:
            before = self.served
            self._look(force=force)
            return self.served is not before

    def take(self, data: bytes) -> Serving:
        """Take the envelope `data`, wherever it came from; return what is served then. Raises AgentError."""
        with self._lock:
            self._take(data)
            self._keep()
            self.problem = None
            if self.served is None:
                raise NothingToServeError("nothing is served")
            return self.served.describe(self._clock.now_ms())

    def let_go(self) -> None:
        """Serve nothing any more; predictions that are being made are finished."""
        with self._lock:
            self.served = self._previous = None

    def after_fork(self) -> None:
        """Make a child process independent of what threads of its parent were doing."""
        self._lock = threading.Lock()

    def _look(self, *, force: bool) -> None:
        stamps = self._stamps()
        if force or not self._is_pointless(stamps):
            with contextlib.suppress(AgentError):
                self._attempt(stamps)
        self._keep()

    def _stamps(self) -> Stamps:
        return self._origin.stamp(), self._trust.stamp() if self._trust else None

    def _attempt(self, stamps: Stamps) -> None:
        """Fetch and take, and note how that went. The error is not kept: it would hold on to models."""
        try:
            self._fetch_and_take()
        except AgentError as exc:
            self._failed(exc, stamps)
            raise
        self.problem = None
        self._looked, self._failures = stamps, 0
        self.checked_at_ms = self._clock.now_ms()

    def _fetch_and_take(self) -> None:
        """Take what is there. What others with the same memory have just left behind is looked at once more."""
        data = self._origin.fetch()
        try:
            return self._take(data)
        except NotTakenError:
            newer = self._origin.fetch()
            if newer == data:
                raise
        return self._take(newer)

    def _is_pointless(self, stamps: Stamps) -> bool:
        """Say whether looking closer would bring what the last look brought: nothing new, or the same failure."""
        if stamps[0] is not None and stamps == self._looked:
            self.checked_at_ms = self._clock.now_ms()
            return True
        is_as_before = self._failures > 0 and stamps == self._failed_at
        return is_as_before and self._clock.monotonic_s() < self._again_s

    def _failed(self, exc: UpmError, stamps: Stamps) -> None:
        """Note what went wrong, and when to try the same again: later each time, sooner when something changes."""
        self.fail(exc)
        self._failures = self._failures + 1 if stamps == self._failed_at else 1
        self._failed_at = stamps
        most_s = MAX_ABSENCE_S if isinstance(exc, UnreachableError) else MAX_PAUSE_S
        self._again_s = self._clock.monotonic_s() + min(most_s, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 20))

    def fail(self, exc: UpmError) -> None:
        """Note that looking for something new did not work."""
        self._looked = None
        self.problem = self._told(exc, self.problem)

    def _told(self, exc: UpmError, before: Problem | None) -> Problem:
        since_ms = before.since_ms if before is not None else self._clock.now_ms()
        return Problem(code=exc.code, message=exc.message, hint=exc.hint, since_ms=since_ms)

    def _resume(self) -> None:
        """Serve what was taken before this start, the newest that is still whole."""
        for data in self._state.kept(self._trainer, self._tenant):
            try:
                pointer, keyid = self._proven(data, self._trusted())
                self._serve(self._load(pointer, model_opener(self._state.folder, pointer)), pointer, data, keyid)
            except AgentError:
                continue
            return

    def _trusted(self) -> Trust | None:
        return self._trust.now() if self._trust else None

    def _proven(self, data: bytes, trust: Trust | None) -> tuple[Pointer, str | None]:
        """Return the pointer in `data` and who signed it. Raises DamagedError, UntrustedError, NotTakenError."""
        with as_damage("the pointer can't be taken"):
            found = envelope.decode(data, pointers.PAYLOAD_TYPE)
            keyid = signed_by(found, trust, "the pointer") if trust else None
            pointer = pointers.decode(found.payload)
        if (pointer.trainer, pointer.tenant) != (self._trainer, self._tenant):
            raise NotTakenError(
                f"the pointer is for trainer {pointer.trainer}, tenant {pointer.tenant!r}, not for "
                f"trainer {self._trainer}, tenant {self._tenant!r}",
                hint="what is in use stays; whoever fills this place mixed them up: upm adapter list",
            )
        return pointer, keyid

    def _take(self, data: bytes) -> None:
        trust = self._trusted()
        pointer, keyid = self._proven(data, trust)
        seen = self._state.recall(self._trainer, self._tenant) or self._seen
        took = decide(pointer, seen, trust, self._clock.now_ms())
        if took in REFUSED:
            raise _not_taken(pointer, seen, took)
        served = self.served
        if served is not None and served.envelope == data and served.keyid == keyid:
            return
        self._serve(self._load(pointer, self._origin.opener(pointer), trust), pointer, data, keyid)
        self._seen = after(pointer, seen, took, keyid)
        self._is_kept = False

    def _load(self, pointer: Pointer, open_file: OpenFile, trust: Trust | None = None) -> Loaded:
        """Return the proven model of `pointer`, one that is in memory if there is one."""
        loaded = load(pointer, open_file)
        trust = trust or self._trusted()
        if trust is not None:
            made = statement.envelope(loaded.manifest, loaded.digest, pointer.snapshot_signatures)
            signed_by(made, trust, f"the snapshot {pointer.trainer}@{pointer.version}")
        return loaded

    def _serve(self, loaded: Loaded, pointer: Pointer, data: bytes, keyid: str | None) -> None:
        """Swap: one assignment, which threads that predict see whole or not at all."""
        before, now_ms = self.served, self._clock.now_ms()
        is_swap = before is None or before.loaded.digest != loaded.digest
        loaded_at_ms = now_ms if before is None or is_swap else before.loaded_at_ms
        self.served = Served(loaded=loaded, pointer=pointer, envelope=data, keyid=keyid, loaded_at_ms=loaded_at_ms)
        if is_swap:
            self._previous = before
            self.swaps += 1

    def _keep(self) -> None:
        """Remember what was taken, and keep it for the next start; tried again until it works."""
        served = self.served
        if self._is_kept or served is None:
            return
        try:
            if self._state.remember(served.pointer, served.keyid, self._trusted()):
                self._state.keep(served.pointer, served.envelope, self._origin.opener(served.pointer))
        except (UpmError, OSError) as exc:
            told = exc if isinstance(exc, UpmError) else UnreachableError(f"can't keep what is served: {exc}")
            self.state_problem = self._told(told, self.state_problem)
        else:
            self.state_problem, self._is_kept = None, True


def _not_taken(pointer: Pointer, seen: Seen | None, took: Took) -> NotTakenError:
    name = f"{pointer.trainer}@{pointer.version} ({pointer.place})"
    at = None if seen is None else str(seen.place)
    if took is Took.EXPIRED:
        why = f"it held until {iso(pointer.expires_at_ms or 0)}"
    elif took is Took.FORKED:
        why = f"another model was taken for {at}"
    else:
        why = f"{at} was taken before"
    return NotTakenError(
        f"the pointer to {name} is refused as {took.value}: {why}",
        hint="what is in use stays; a newer pointer is taken: upm sync run",
        context={"took": took.value},
    )

"""What an agent keeps for its next start, in a folder of its own that has the layout of a model directory.

    pointers/<trainer>/<slug>.json    the envelope it took last
    last-good/<trainer>/<slug>.json   the one it took before, with another model, unless that was rolled back from
    seen/<trainer>/<slug>.json        the highest pointer it has taken (core/delivery/memory.py)
    models/<digest>.<ext>             the models of both
    lock                              held while any of it is changed: processes may share the folder

The folder may be the model directory itself, as an HTTP agent has it.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from upm_cli.agent import files
from upm_cli.agent.errors import AgentError, DamagedError, ForgetfulError, UnreachableError
from upm_cli.agent.loading import OpenFile
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope, memory, places, pointer
from upm_cli.core.delivery.ratchet import REFUSED, Seen, after, decide
from upm_cli.core.delivery.trust import Trust
from upm_cli.errors import IntegrityError, StorageError
from upm_cli.store import fsio

SEEN: Final = "seen"
LAST_GOOD: Final = "last-good"
LOCK: Final = "lock"
LOCK_S: Final = 2.0  # how long another process may take over its few small writes
YOUNG_MS: Final = 3_600_000  # models younger than this are not removed: somebody may be about to use them
_COPY_BYTES: Final = 1 << 20
MOST_PROVEN: Final = 1000
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


_proven: Final[dict[Path, files.Stamp | None]] = {}  # files of models, as they were when they were found to be right


class State:
    """The folder of one agent, or of several with the same."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock

    def recall(self, trainer: str, tenant: str) -> Seen | None:
        """Return the highest pointer that was taken. Raises ForgetfulError when that can't be known."""
        relative = f"{SEEN}/{trainer}/{places.slug(tenant)}.json"
        try:
            data = files.read_small(self.folder, relative, memory.MAX_MEMORY_BYTES)
            return memory.decode(data, trainer, tenant)
        except FileNotFoundError:
            return None
        except IntegrityError as exc:
            raise _forgetful(self.folder / relative, exc.message) from exc
        except UnreachableError as exc:
            raise _forgetful(self.folder / relative, exc.message) from exc

    def kept(self, trainer: str, tenant: str) -> Iterator[bytes]:
        """Yield the envelopes that were taken, the newest first."""
        for folder in (places.POINTERS, LAST_GOOD):
            relative = f"{folder}/{trainer}/{places.slug(tenant)}.json"
            try:
                data = files.read_small(self.folder, relative, envelope.MAX_ENVELOPE_BYTES)
            except (AgentError, FileNotFoundError):
                continue
            yield data

    def remember(self, taken: pointer.Pointer, keyid: str | None, trust: Trust | None) -> bool:
        """Remember that `taken` was taken; return whether that counts: another process may have taken a newer one.

        Raises UpmError.
        """
        due, counts = self._due(taken, keyid, trust)
        if due is None:
            return counts
        with self._locked():
            due, counts = self._due(taken, keyid, trust)
            if due is not None:
                path = self.folder / SEEN / taken.trainer / f"{places.slug(taken.tenant)}.json"
                fsio.make_folder(path.parent)
                fsio.durable_write(path, memory.encode(due, taken.trainer, taken.tenant))
        return counts

    def _due(self, taken: pointer.Pointer, keyid: str | None, trust: Trust | None) -> tuple[Seen | None, bool]:
        """Return what is to be remembered, None when it is already; and whether `taken` counts."""
        now = self.recall(taken.trainer, taken.tenant)
        took = decide(taken, now, trust, taken.issued_at_ms)
        seen = after(taken, now, took, keyid)
        return (None if took in REFUSED or now == seen else seen), took not in REFUSED

    def keep(self, taken: pointer.Pointer, data: bytes, open_file: OpenFile) -> None:
        """Keep the envelope `data` of `taken` and its model, and the former one as the last good. Raises UpmError."""
        name = places.pointer(taken.trainer, taken.tenant)
        before = self._decoded(name)
        if before is not None and before[1] == data and self._has(taken):  # another process, or another agent of this
            return
        with self._locked():
            self._keep_model(taken, open_file)
            before = self._decoded(name)
            if before is not None and before[0].digest != taken.digest:
                self._keep_last_good(taken, *before)
            if before is None or before[1] != data:
                fsio.make_folder((self.folder / name).parent)
                fsio.durable_write(self.folder / name, data)
                self._collect()

    def _keep_last_good(self, taken: pointer.Pointer, before: pointer.Pointer, data: bytes) -> None:
        """Keep what was served before; what is rolled back from is not good, and goes."""
        name = f"{LAST_GOOD}/{taken.trainer}/{places.slug(taken.tenant)}.json"
        path = self.folder / name
        if taken.kind != "rollback":
            fsio.make_folder(path.parent)
            fsio.durable_write(path, data)
            return
        older = self._decoded(name)
        if older is not None and older[0].digest == before.digest:
            fsio.durable_unlink(path)

    def _decoded(self, name: str) -> tuple[pointer.Pointer, bytes] | None:
        try:
            data = files.read_small(self.folder, name, envelope.MAX_ENVELOPE_BYTES)
            return pointer.decode(envelope.decode(data, pointer.PAYLOAD_TYPE).payload), data
        except (FileNotFoundError, AgentError, IntegrityError):
            return None

    def _keep_model(self, taken: pointer.Pointer, open_file: OpenFile) -> None:
        """Have the stored file of the model, proven once by this process."""
        if self._has(taken):
            return
        path, wanted = self.folder / places.model(taken.digest, taken.model.codec), taken.model.file_digest
        if self._digest_of(path) != wanted:
            fsio.make_folder(path.parent)
            partial = path.with_name(f".{path.name}.{os.getpid()}{fsio.TEMP_SUFFIX}")
            with fsio.telling(path, "keep", taken.model.size_bytes):
                try:
                    with open_file() as (source, _), os.fdopen(os.open(partial, _NEW, 0o600), "wb") as target:
                        found = _copied(source, target)
                    if found != wanted:
                        raise DamagedError(f"the model that is to be kept in {path} has changed since it was loaded")
                    fsio.publish(partial, path)
                finally:
                    fsio.remove_quietly(partial)
        if len(_proven) > MOST_PROVEN:
            _proven.clear()
        _proven[path] = files.stamp(path)

    def _has(self, taken: pointer.Pointer) -> bool:
        """Say whether the stored file of the model is one that this process has proven."""
        path = self.folder / places.model(taken.digest, taken.model.codec)
        return path in _proven and _proven[path] == files.stamp(path) is not None

    def _digest_of(self, path: Path) -> str | None:
        try:
            with files.opened(self.folder, str(path.relative_to(self.folder))) as (fd, _):
                return _copied(fd, None)
        except (FileNotFoundError, AgentError):
            return None

    def _collect(self) -> None:
        """Remove models that no kept pointer names, unless they are young."""
        named = set()
        for folder in (places.POINTERS, LAST_GOOD):
            for path in sorted((self.folder / folder).glob("*/*.json")):
                found = self._decoded(str(path.relative_to(self.folder)))
                if found is None:
                    return  # whoever can't read what is needed removes nothing
                named.add(found[0].digest)
        for path in (self.folder / places.MODELS).iterdir():
            is_young = path.stat(follow_symlinks=False).st_mtime * 1000 > self._clock.now_ms() - YOUNG_MS
            if path.name.partition(".")[0] not in named and not is_young:
                fsio.remove_quietly(path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fsio.make_folder(self.folder)
        fd = fsio.open_lock(self.folder / LOCK)
        try:
            until = self._clock.monotonic_s() + LOCK_S
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as exc:
                    if self._clock.monotonic_s() > until:
                        raise StorageError(
                            f"another process holds {self.folder / LOCK}",
                            hint="agents of the same name share it for a moment only: look for one that hangs",
                            code="UPM-E013",
                        ) from exc
                    self._clock.sleep(0.002)
            yield
        finally:
            os.close(fd)


def _copied(source: int, target: BinaryIO | None) -> str:
    """Copy `source` to `target` if there is one; return the sha256 of what was copied."""
    proof = hashlib.sha256()
    while piece := os.read(source, _COPY_BYTES):
        proof.update(piece)
        if target is not None:
            target.write(piece)
    return proof.hexdigest()


def default_folder(location: str, environ: Mapping[str, str]) -> Path:
    """Return where the agents of this user that look at `location` keep their state."""
    base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or Path('~').expanduser()}/.local/state"
    return Path(base) / "upm" / "agents" / hashlib.sha256(location.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _forgetful(path: Path, why: str) -> ForgetfulError:
    return ForgetfulError(
        f"the memory of what was served can't be read: {path}: {why}",
        hint=f"nothing new is taken until it is sound; to trust the next pointer as the first one, remove {path}",
    )

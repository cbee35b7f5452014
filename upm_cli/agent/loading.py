"""A stored model → something that predicts, every byte of it proven on the way.

Nothing is unpacked before the file has the size and the sha256 that the pointer names, nothing is parsed before the raw
bytes have theirs. A model that is loaded is shared by all agents of the process that are to serve the same bytes.
"""

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.agent.errors import DamagedError, UnreachableError
from upm_cli.agent.unpack import CHUNK, unpacked
from upm_cli.core import snapshot
from upm_cli.core.delivery.pointer import ModelFile, Pointer
from upm_cli.core.learning.labels import LabelCodec
from upm_cli.core.predict import Model, open_model
from upm_cli.core.window import Csr
from upm_cli.errors import IntegrityError, UpmError

OpenFile = Callable[[], AbstractContextManager[tuple[int, int]]]  # gives a descriptor and the file's size


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Loaded:
    """A model in memory, and the snapshot that it is."""

    model: Model
    labels: LabelCodec
    manifest: dict[str, Any]
    digest: str


@dataclass(slots=True)
class _Shared:
    """The models of this process by digest, for as long as somebody serves them."""

    lock: Any = field(default_factory=threading.Lock)  # one is loaded at a time: memory for one, not for many
    models: "weakref.WeakValueDictionary[str, Loaded]" = field(default_factory=weakref.WeakValueDictionary)


_shared: Final = _Shared()


def load(pointer: Pointer, open_file: OpenFile) -> Loaded:
    """Return the model that `pointer` names, from the file that `open_file` opens if no agent here has it already.

    Raises DamagedError when anything about it is not as the pointer says, UnreachableError when it can't be read.
    """
    with _shared.lock:
        loaded = _shared.models.get(pointer.digest)
        if loaded is None:
            loaded = _load(pointer, open_file)
            _shared.models[pointer.digest] = loaded
    _check_is_meant(loaded, pointer)
    return loaded


def after_fork() -> None:
    """Let a child process load, whatever its parent was doing when it was made."""
    _shared.lock = threading.Lock()


def _load(pointer: Pointer, open_file: OpenFile) -> Loaded:
    what = f"the model of {pointer.trainer}@{pointer.version}"
    try:
        with open_file() as (fd, size):
            raw = _read_raw(fd, size, pointer.model, pointer.digest)
        arrays, manifest = snapshot.decode(raw)
        return _prepared(arrays, manifest, pointer.digest)
    except UnreachableError:
        raise
    except FileNotFoundError as exc:
        raise DamagedError(f"{what} is not there", hint="send it again: upm sync run") from exc
    except OSError as exc:
        raise UnreachableError(f"{what} can't be read: {exc.strerror or exc}", hint="check the disk") from exc
    except snapshot.SnapshotTooNewError as exc:
        raise DamagedError(f"{what}: {exc}", hint="use the newer upm that made it") from exc
    except MemoryError as exc:
        raise DamagedError(f"{what} does not fit into memory", hint="give this process more memory") from exc
    except IntegrityError as exc:
        raise DamagedError(f"{what}: {exc.message}", hint=exc.hint) from exc
    except UpmError as exc:
        raise UnreachableError(f"{what}: {exc.message}", hint=exc.hint) from exc
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError) as exc:
        raise DamagedError(
            f"{what} is damaged: {exc}", hint="what is in use stays; send it again: upm sync run"
        ) from exc


def _read_raw(fd: int, size: int, model: ModelFile, digest: str) -> bytearray:
    """Return the raw bytes of the file `fd`, proven twice: as stored, and unpacked. Raises ValueError, OSError."""
    raw = bytearray()
    for piece in proven_pieces(fd, size, model, digest):
        raw += piece
    return raw


def proven_pieces(fd: int, size: int, model: ModelFile, digest: str) -> Iterator[bytes]:
    """Yield the raw bytes of the stored file `fd` of `size` bytes; what was yielded is proven when it ends.

    Raises ValueError when the file is not what `model` and `digest` say, OSError.
    """
    if size != model.size_bytes:
        raise ValueError(f"its file has {size:,} bytes instead of {model.size_bytes:,}")
    stored = hashlib.sha256()
    while piece := os.read(fd, CHUNK):
        stored.update(piece)
    if stored.hexdigest() != model.file_digest:
        raise ValueError("its file does not have the sha256 that was sent")
    os.lseek(fd, 0, os.SEEK_SET)
    proof = hashlib.sha256()
    for piece in unpacked(lambda most: os.read(fd, most), model.codec, model.raw_bytes):
        proof.update(piece)
        yield piece
    if proof.hexdigest() != digest:
        raise ValueError("its bytes do not have the digest that was sent")


def _prepared(arrays: snapshot.Arrays, manifest: dict[str, Any], digest: str) -> Loaded:
    """Return the model, tried once. Raises whatever comes of arrays and a manifest that do not go together."""
    model = open_model(arrays, manifest)
    labels = LabelCodec.from_meta(manifest["labels"])
    labels.decode(model.predict_many(Csr.empty(1)))
    labels.decode(model.predict_one([1], [1.0]))
    if not all(isinstance(manifest[key], kind) for key, kind in (("trainer", str), ("version", int))):
        raise ValueError("its manifest does not say whose it is")
    return Loaded(model=model, labels=labels, manifest=manifest, digest=digest)


def _check_is_meant(loaded: Loaded, pointer: Pointer) -> None:
    found = (loaded.manifest["trainer"], loaded.manifest["version"])
    if found != (pointer.trainer, pointer.version):
        raise DamagedError(
            f"the model with the digest of {pointer.trainer}@{pointer.version} calls itself {found[0]}@{found[1]}",
            hint="what is in use stays; upm snapshot verify shows what is right",
        )

"""The project on disk: find it, make it, and keep its snapshots where the configuration says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.config.load import FILE_NAME
from upm_cli.config.template import render_template
from upm_cli.errors import InvalidError, NotFoundError, StorageError

if TYPE_CHECKING:
    from upm_cli.store.session import Store

HOME = ".upm"
#: One window as a line of a source, with all that is required and a label.
SAMPLE_WINDOW = (
    '{"window_id": "o-1", "window_start": "2026-01-05T08:00:00Z", "window_end": "2026-01-05T08:01:00Z", '
    '"features": {"hour": 9, "country": "nl"}, "label": true}'
)
DEFAULT_STORAGE = f"{HOME}/blobs"


def find_project(given: Path | None, *, config: Path | None = None, start: Path | None = None) -> Path:
    """Return the project folder, absolute.

    `given` is taken as it is (its .upm folder will do too). Else it is the folder of an explicit `config` file, else
    the nearest folder with upm.yaml from `start` (the working directory) upwards. Raises NotFoundError.
    """
    if given is not None:
        folder = given.absolute().parent if given.name == HOME else given.absolute()
        if config is None and not (folder / FILE_NAME).is_file():
            raise NotFoundError(f"no {FILE_NAME} in {folder}", hint=f"upm init {given}", code="UPM-E048")
        return folder
    if config is not None:
        return config.absolute().parent
    here = start or _working_directory()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise NotFoundError(
        f"no {FILE_NAME} in {here} or above it",
        hint="make one here with upm init, or name it with -C DIR",
        code="UPM-E048",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What `upm init` did: the paths it made, and whether it brought an older state up to date."""

    project: Path
    made: tuple[Path, ...]
    is_migrated: bool = False


def init_project(folder: Path, clock: Clock, *, dry_run: bool = False, command: str = "") -> Initialised:
    """Make `folder` a project: upm.yaml unless there is one, and .upm with an empty state. Twice changes nothing.

    Raises StorageError when the folder can't be written, BusyError when somebody else is at it.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is not a folder", hint="name another one: upm init DIR", code="UPM-E014")
    if "\\" in str(folder):  # the database takes it for a slash, and looks somewhere else
        raise StorageError(
            f"{folder} has a backslash in its path, where no state can be kept",
            hint="name another one: upm init DIR",
            code="UPM-E014",
        )
    config, home = folder / FILE_NAME, folder / HOME
    missing = [path for path in (config, home) if not path.exists()]
    is_migrated = not dry_run and _make(config, home, clock, command) and home not in missing
    return Initialised(project=folder, made=tuple(missing), is_migrated=is_migrated)


def open_store(project: Path, clock: Clock, base_path: str, *, lock_timeout_s: float, command: str) -> "Store":
    """Open the project's store, with snapshots where `base_path` says. Raises NotFoundError when there is none."""
    from upm_cli.store.session import Store

    home = project / HOME
    if not home.is_dir():
        raise NotFoundError(f"no state in {home}", hint=f"upm init {project}", code="UPM-E041")
    link_storage(project, base_path)
    return Store(home, clock, lock_timeout_s=lock_timeout_s, command=command)


def storage_folder(project: Path, base_path: str) -> Path:
    """Return the folder that `snapshot_manager.base_path` names."""
    return project / Path(base_path).expanduser()


def link_storage(project: Path, base_path: str) -> None:
    """Let .upm/blobs be the folder `base_path`: itself, or a link to another folder, which is made if need be.

    Raises InvalidError when snapshots are somewhere else already: moving them is for a person to decide.
    """
    from upm_cli.store import fsio, layout

    wanted, blobs = storage_folder(project, base_path), project / DEFAULT_STORAGE
    if wanted.absolute() == blobs.absolute() and not blobs.is_symlink():
        return
    if blobs.exists() and blobs.resolve() == wanted.resolve():
        return
    if any(path.is_file() for path in blobs.rglob("*")):
        raise InvalidError(
            f"snapshots are in {blobs.resolve()}, but snapshot_manager.base_path says {wanted}",
            hint=f"move them there (mv {blobs.resolve()} {wanted}), or change base_path back",
            code="UPM-C031",
        )
    fsio.link_folder(blobs, wanted)
    fsio.make_folder(project / HOME / layout.BLOBS)


def _make(config: Path, home: Path, clock: Clock, command: str) -> bool:
    """Make what is missing; return whether the state changed."""
    from upm_cli.store import fsio, layout
    from upm_cli.store.session import Store

    if not config.parent.exists():
        fsio.make_folder(config.parent, mode=0o777)
    fsio.durable_create(config, render_template().encode(), mode=0o644)
    before = _identity(home / layout.STATE)
    Store.create(home, clock, command=command).close()
    return _identity(home / layout.STATE) != before


def _identity(state: Path) -> tuple[int, int] | None:
    try:
        found = state.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise NotFoundError(
            "the working directory is gone", hint="cd to a folder that exists", code="UPM-E048"
        ) from exc

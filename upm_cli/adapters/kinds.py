"""The kinds of adapters: what a row's kind means, and which rows are best served together."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.adapters import base
from upm_cli.adapters.sums import Sums
from upm_cli.clock import Clock
from upm_cli.core.records import Adapter
from upm_cli.errors import UsageError
from upm_cli.store.surroundings import mount_of, mount_points

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings

KINDS: Final = ("directory", "http")


class Kinds:
    """Opens the adapters of rows. One for a process: it remembers which files were read and proven."""

    def __init__(self, clock: Clock) -> None:
        self._sums = Sums(clock)
        self._mounts: list[str] | None = None

    def open_adapter(self, row: Adapter, settings: "Settings", clock: Clock) -> base.Adapter:
        """Return the adapter of `row`. Raises UsageError for a kind that this installation has not."""
        if row.kind == "directory":
            from upm_cli.adapters.directory import Directory

            return Directory(Path(row.location), clock, self._sums)
        if row.kind == "http":
            return _open_http(row, settings, clock)
        raise UsageError(f"no kind of adapter {row.kind!r}", hint=f"one of {', '.join(KINDS)}", code="UPM-E029")

    def group(self, row: Adapter) -> str | None:
        """Return what rows have in common that are served in one go; None: each of this kind by itself.

        Directories of one file system are: what makes a hundred files durable costs as much as one.
        """
        if row.kind != "directory":
            return None
        if self._mounts is None:
            self._mounts = mount_points()
        return mount_of(row.location, self._mounts)


def check_http(url: str, token_file: Path, settings: "Settings") -> str:
    """Return the URL of an HTTP agent in one form for each place. Raises what its kind raises for a bad one.

    The token is read as a delivery would read it.
    """
    found = str(_http().check_url(url, settings.adapter_sync.allow_hosts)).rstrip("/")
    importlib.import_module("upm_cli.safehttp.tokens").read_token(token_file)
    return found


def _open_http(row: Adapter, settings: "Settings", clock: Clock) -> base.Adapter:
    files = {name: Path(row.metadata[name]) for name in ("token_file", "ca_file") if row.metadata.get(name)}
    made: base.Adapter = _http().HttpAdapter(
        row.location, **files, allow_hosts=settings.adapter_sync.allow_hosts, clock=clock
    )
    return made


def _http() -> Any:
    """Return the module of HTTP agents. Raises UsageError where this installation has none."""
    try:
        return importlib.import_module("upm_cli.adapters.http")
    except ModuleNotFoundError as exc:
        raise UsageError(
            "this installation has no adapters of kind http",
            hint="use a directory: upm adapter add KEY --kind directory --path DIR",
            code="UPM-E121",
        ) from exc

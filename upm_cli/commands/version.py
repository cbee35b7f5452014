"""`upm version`: which upm this is, and what it runs on."""

import platform

import typer

from upm_cli import __version__
from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit

LIBRARIES = ("duckdb", "numpy", "pyarrow", "msgspec", "zstandard", "safetensors", "pyyaml", "typer", "rich", "textual")


def register(app: typer.Typer) -> None:
    app.command("version")(version)


@command
def version(ctx: Context) -> None:
    """Print the version of upm, Python and the libraries it stands on.

    Example: upm version --json
    """
    libraries = {name: _installed(name) for name in LIBRARIES}
    payload = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": libraries,
    }
    lines = [f"upm {__version__}", f"Python {payload['python']} on {payload['platform']}"]
    emit(ctx, payload, text="\n".join(lines + [f"{name} {found or 'missing'}" for name, found in libraries.items()]))


def _installed(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

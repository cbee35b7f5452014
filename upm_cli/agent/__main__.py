"""`python -m upm_cli.agent serve|watch …`: an agent, started without the command line and what it imports.

`serve` is an HTTP agent, with the options of `upm agent serve`; `watch` says what an agent at a place would serve.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upm_cli.agent.server.options import Limits, ServeOptions
from upm_cli.agent.watch import WatchOptions, say, watch
from upm_cli.clock import SystemClock
from upm_cli.errors import UpmError
from upm_cli.exit_codes import ExitCode, for_error


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked, and return the exit code."""
    given = vars(_parser().parse_args(argv))
    try:
        command = given.pop("command")
        return watch(WatchOptions(**given), say) if command == "watch" else _serve(given)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except UpmError as exc:
        _say(f"error[{exc.code}]: {exc.message}")
        if exc.hint:
            _say(f"hint: {exc.hint}")
        return for_error(exc)


def _serve(given: dict[str, Any]) -> int:
    from upm_cli.agent.server.run import serve

    limits = {"model_bytes": "max_model_bytes", "connections": "max_connections", "requests_per_s": "max_rate"}
    chosen = Limits(**{name: given.pop(option) for name, option in limits.items()})
    given |= {name: tuple(given[name]) for name in ("tenants", "host_names")}
    options = ServeOptions(limits=chosen, **given)
    return serve(options, SystemClock(), _say, lambda started: _say(str(started)))


def _say(text: str) -> None:
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
    sys.stderr.write(f"{shown}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    default, limits = ServeOptions(folder=Path()), Limits()
    parser = argparse.ArgumentParser(prog="python -m upm_cli.agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("serve", help="serve models over HTTP").add_argument
    add("--dir", dest="folder", type=Path, required=True, metavar="DIR")
    add("--host", default=default.host)
    add("--port", type=int, default=default.port)
    for name in ("--token-file", "--trust", "--pull-token-file", "--tls-cert", "--tls-key"):
        add(name, type=Path)
    for name in ("--name", "--trainer", "--pull"):
        add(name)
    add("--tenant", dest="tenants", action="append", default=[])
    add("--host-name", dest="host_names", action="append", default=[])
    add("--no-log-features", dest="log_features", action="store_false")
    add("--behind-proxy", action="store_true")
    add("--max-model-bytes", type=int, default=limits.model_bytes)
    add("--max-connections", type=int, default=limits.connections)
    add("--max-rate", type=float, default=limits.requests_per_s)
    add = commands.add_parser("watch", help="say what is served, whenever that changes").add_argument
    add("location", metavar="DIR|URL")
    for name in ("--tenant", "--trainer", "--name"):
        add(name)
    for name in ("--trust", "--token-file", "--cache"):
        add(name, type=Path)
    add("--every-s", type=float, default=1.0)
    return parser


if __name__ == "__main__":
    sys.exit(main())

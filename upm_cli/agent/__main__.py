"""`python -m upm_cli.agent serve …`: an HTTP agent, started without the command line and what it imports.

The options are those of `upm agent serve`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from upm_cli.agent.server.options import Limits, ServeOptions
from upm_cli.clock import SystemClock
from upm_cli.errors import UpmError
from upm_cli.exit_codes import for_error


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, and return the exit code."""
    given = vars(_parser().parse_args(argv))
    given.pop("command")
    limits = {"model_bytes": "max_model_bytes", "connections": "max_connections", "requests_per_s": "max_rate"}
    chosen = Limits(**{name: given.pop(option) for name, option in limits.items()})
    given |= {name: tuple(given[name]) for name in ("tenants", "host_names")}
    try:
        from upm_cli.agent.server.run import serve

        options = ServeOptions(limits=chosen, **given)
        return serve(options, SystemClock(), _say, lambda started: _say(str(started)))
    except UpmError as exc:
        _say(f"error[{exc.code}]: {exc.message}")
        if exc.hint:
            _say(f"hint: {exc.hint}")
        return for_error(exc)


def _say(text: str) -> None:
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
    sys.stderr.write(f"{shown}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    default, limits = ServeOptions(folder=Path()), Limits()
    parser = argparse.ArgumentParser(prog="python -m upm_cli.agent", description=__doc__)
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve", help="serve models over HTTP")
    add = serve.add_argument
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
    return parser


if __name__ == "__main__":
    sys.exit(main())

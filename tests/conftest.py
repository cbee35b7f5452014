"""What holds for all tests."""

import contextlib
import importlib
import signal
import sys

import pytest

# These run long over lines that faster tests cover, and measuring coverage more than doubles their time.
UNTRACED = (
    "test_agent_hot_swap.py",
    "test_contests_fold.py",
    "test_flow_every_command.py",
    "test_flow_every_example.py",
    "test_replay_against_oracle.py",
    "test_learning_streams.py",
    "test_roles.py",
)


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start: what a script runs with `&` ignores it, and so do its own."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Don't trace some tests."""
    for item in items:
        if item.path.name in UNTRACED or item.path.parent.name in ("parity", "process"):
            item.add_marker("no_cover")


@pytest.hookimpl(trylast=True)  # coverage is measured from here on
def pytest_sessionstart(session: pytest.Session) -> None:
    """Where several processes are to collect everything, let each begin with other files.

    The first one to read a file rewrites its assertions and keeps the result; that takes longer than all the rest.
    """
    here = getattr(session.config, "workerinput", None)
    if here is None or session.config.args != session.config.getini("testpaths"):
        return
    paths = sorted(session.config.rootpath.glob("tests/**/test_*.py"))
    for path in paths[int(here["workerid"].removeprefix("gw")) :: here["workercount"]]:
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collection proper will say so
            importlib.import_module(path.stem)

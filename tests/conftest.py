"""What holds for all tests."""

import pytest

# These run long over lines that faster tests cover, and measuring coverage more than doubles their time.
UNTRACED = (
    "test_agent_hot_swap.py",
    "test_contests_fold.py",
    "test_replay_against_oracle.py",
    "test_learning_streams.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Don't trace some tests."""
    for item in items:
        if item.path.name in UNTRACED or item.path.parent.name in ("parity", "process"):
            item.add_marker("no_cover")

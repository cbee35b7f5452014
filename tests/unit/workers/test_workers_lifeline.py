"""How workers learn that they should stop, or that nothing more will come."""

import os
import signal
from collections.abc import Iterator

import pytest

from upm_cli.workers.lifeline import Stop, Upstream


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_asks_to_stop_and_decides_the_exit_code(handlers: None, number: int, code: int) -> None:
    stop = Stop()
    assert not stop
    stop.install()
    os.kill(os.getpid(), number)
    assert stop
    assert stop.exit_code() == code


def test_a_second_signal_changes_nothing(handlers: None) -> None:
    stop = Stop()
    stop.install()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.exit_code() == 143


def test_handlers_are_put_back_after_the_block(handlers: None) -> None:
    each = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in each]
    stop = Stop()
    with stop.installed():
        assert all(signal.getsignal(number) != old for number, old in zip(each, before, strict=True))
    assert [signal.getsignal(number) for number in each] == before


def test_an_upstream_is_there_until_its_end_of_the_pipe_is_closed() -> None:
    mine, theirs = os.pipe()
    try:
        upstream = Upstream(mine)
        assert not upstream.closed()
        os.write(theirs, b"whatever is said here means nothing")
        assert not upstream.closed()
    finally:
        os.close(theirs)
    assert upstream.closed()
    assert upstream.closed()
    os.close(mine)

"""The notifier: tells webhooks what happened, as soon as it did."""

from upm_cli.errors import BusyError
from upm_cli.ops import notify
from upm_cli.workers.context import Worker

POLL_S = 0.5


def run(worker: Worker) -> int:
    """Tell until asked to stop; return the exit code."""
    token: tuple[int, int] | None = None
    is_waiting, sent = False, 0
    while not worker.stop:
        now = worker.store.token()
        if now != token or is_waiting:
            try:
                passed = notify.tick(worker.store, worker.clock, worker.settings, worker.project.folder, worker.jitter)
            except BusyError:
                passed = []  # somebody runs `upm notify run`
            token = now
            is_waiting = any(each.is_waiting or each.sent == notify.MOST_AT_ONCE for each in passed)
            sent += sum(each.sent for each in passed)
        worker.tell("telling", sent)
        worker.clock.sleep(POLL_S)
    worker.tell("stopped", sent, force=True)
    return worker.stop.exit_code()

"""An app that does its work in threads, so that the event loop only draws and hears keys."""

from collections.abc import Callable

from textual.app import App
from textual.message import Message

from upm_cli.errors import UpmError


class Threaded(App[None]):
    """Hands work to threads; what comes of it arrives as a message."""

    def in_thread(self, work: Callable[[], Message | None], failed: Callable[[UpmError], Message]) -> None:
        """Do `work` in a thread and post what it returns, or what `failed` makes of its error."""

        def run() -> None:
            try:
                message = work()
            except UpmError as exc:
                message = failed(exc)
            if message is not None:
                self.post_message(message)

        self.run_worker(run, thread=True)

    def say(self, text: str, *, title: str = "", severity: str = "information", seconds: float = 5) -> None:
        """Say `text`, never read as markup, in the corner for a while. What went wrong is said alone.

        Several keys that fail for one reason would else pile up until they cover how old everything else is.
        """
        if severity == "error":
            self.clear_notifications()
        self.notify(text, title=title, severity=severity, timeout=seconds, markup=False)  # type: ignore[arg-type]

"""The keys that change something: plan in a thread, ask, do it in a thread, tell. And those that read for long."""

from functools import partial

from rich.text import Text
from textual import on

from upm_cli.core.records import Snapshot
from upm_cli.errors import RefusedError
from upm_cli.tui import messages
from upm_cli.tui.diff_text import diff_text
from upm_cli.tui.flow import Flow
from upm_cli.tui.plan import Plan, Planner, Refusal, refusal
from upm_cli.tui.project import Project
from upm_cli.tui.reading import Live, Reading
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.detail import Detail
from upm_cli.tui.screens.main import Main
from upm_cli.tui.screens.refused import Refused
from upm_cli.tui.screens.snapshots import Snapshots
from upm_cli.tui.text import error_text, plain, plural


class Acting(Reading):
    """What the dashboard does to a project, always after a yes."""

    def __init__(
        self,
        project: Project,
        main: Main,
        flow: Flow,
        *,
        read_only: bool,
        reader: Live | None = None,
        at_ms: int | None = None,
    ) -> None:
        super().__init__(project, main, flow, read_only=read_only, reader=reader, at_ms=at_ms)
        self._is_acting = False

    @property
    def acts_on(self) -> str | None:
        """The trainer that the keys are about: the one whose snapshots are on the screen, else the chosen one."""
        if isinstance(self.base, Snapshots) and self._board is not None:
            return self._board.trainer
        return self._wanted

    # The keys

    def action_snapshot(self) -> None:
        self._propose(_planner("snapshot"), "take a snapshot", ("snapshot", "create"))

    def action_activate(self) -> None:
        word = str(self._shot.version) if self._shot is not None else "latest"
        title = f"activate {'v' if self._shot is not None else ''}{word}"
        plan, past = _planner("activate", word), _planner("override", word)
        self._propose(plan, title, ("activate",), (word,), past)

    def action_rollback(self) -> None:
        self._propose(_planner("rollback"), "roll back", ("rollback",))

    def action_pause(self) -> None:
        self._propose(_planner("pause"), "pause", ("pause",))

    def action_promote(self) -> None:
        self._propose(_planner("promote"), "promote the rollout", ("rollout", "promote"))

    def action_hold(self) -> None:
        self._propose(_planner("hold"), "hold the rollout", ("rollout", "pause"))

    def action_abort(self) -> None:
        self._propose(_planner("abort"), "abort the rollout", ("rollout", "abort"))

    def action_begin(self) -> None:
        self._propose(_planner("begin"), "begin a rollout", ("rollout", "start"))

    def action_release(self) -> None:
        self._propose_for_shot("release", "release")

    def action_pin(self) -> None:
        self._propose_for_shot("pin", "pin")

    def action_retry(self) -> None:
        key = self.base.adapter
        if key is None:
            self.say("put the cursor on an agent first: 5 shows them")
        else:
            self._propose(_planner("retry", key), f"deliver to {key} again", ("sync", "retry"))

    def _propose_for_shot(self, verb: str, word: str) -> None:
        shot = self._shot
        if shot is None:
            self.say("put the cursor on a snapshot first: 2 shows them")
        else:
            plan = _planner(verb, shot=shot)
            self._propose(plan, f"{word} v{shot.version}", ("snapshot", word), (str(shot.version),))

    @property
    def _shot(self) -> Snapshot | None:
        return self.base.chosen

    # Planning, asking, doing

    def _propose(
        self,
        plan: Planner,
        title: str,
        words: tuple[str, ...],
        more: tuple[str, ...] = (),
        override: Planner | None = None,
    ) -> None:
        """Work the plan for the chosen trainer out in a thread; `title` and `words` are for a refusal."""
        trainer = self.acts_on
        if self.why_not:
            self.say(self.why_not, severity="warning")
        elif trainer is not None and not self._is_acting:
            self._is_acting = True
            asked = (f"{title} of {trainer}", (*words, trainer, *more), override)
            self.in_thread(lambda: self._planned_or_refused(plan, trainer, *asked), messages.Failed)

    def _planned_or_refused(
        self, plan: Planner, trainer: str, title: str, words: tuple[str, ...], override: Planner | None
    ) -> messages.Planned | messages.Refused:
        try:
            return messages.Planned(plan(self.project, trainer))
        except RefusedError as exc:
            if not exc.context.get("gates"):
                raise
            return messages.Refused(refusal(exc, title, words, override))

    @on(messages.Planned)
    def _planned(self, message: messages.Planned) -> None:
        self._is_acting = False
        if message.plan.settled:
            self.say(message.plan.settled)
        else:
            self.push_screen(Confirm(message.plan, self.project), partial(self._answered, message.plan))

    @on(messages.Refused)
    def _refused(self, message: messages.Refused) -> None:
        self._is_acting = False
        self.push_screen(Refused(message.refusal, self.project), partial(self._excepted, message.refusal))

    def _excepted(self, found: Refusal, is_asked: bool | None) -> None:
        if is_asked and found.override is not None:
            self._propose(found.override, found.title.rpartition(" of ")[0], found.words[:1], found.words[2:])

    def _answered(self, plan: Plan, reason: str | None) -> None:
        if reason is not None:
            self._is_acting = True
            self.say(f"{plan.title} …", seconds=2)
            self.in_thread(lambda: messages.Done(plan.act(reason)), messages.Failed)

    @on(messages.Done)
    def _done(self, message: messages.Done) -> None:
        self._is_acting = False
        self.say(message.text)
        self.look()

    @on(messages.Failed)
    def _failed(self, message: messages.Failed) -> None:
        self._is_acting = False
        self.say(error_text(message.error), title=message.error.code, severity="error", seconds=15)

    @on(messages.Told)
    def _told(self, message: messages.Told) -> None:
        self.say(message.text)

    # Reading for long

    @on(messages.VerifyAsked)
    def _verify_asked(self, message: messages.VerifyAsked) -> None:
        shots = message.shots
        self.in_thread(lambda: _verified(self.project, shots), messages.Failed)

    @on(messages.Verified)
    def _verified(self, message: messages.Verified) -> None:
        if isinstance(self.base, Snapshots):
            self.base.note_verified(message.shots, message.found)
        damaged = [problem for problem in message.found.values() if problem]
        whole = len(message.found) - len(damaged)
        if damaged:
            self.say("\n".join(map(plain, damaged)), title=f"{len(damaged)} damaged", severity="error")
        else:
            self.say(f"{plural(whole, 'snapshot')} read back: every byte is right")

    @on(messages.DiffAsked)
    def _diff_asked(self, message: messages.DiffAsked) -> None:
        self.in_thread(lambda: _compared(self.project, message.before, message.after), messages.Failed)

    @on(messages.Compared)
    def _compared(self, message: messages.Compared) -> None:
        found = message.diff
        words = ("snapshot", "diff", found.before.trainer, str(found.before.version), str(found.after.version))
        title = f"{found.before.trainer} v{found.before.version} → v{found.after.version}"
        self.show_detail(title, diff_text(found), self.project.command(words))

    def show_detail(self, title: str, text: Text, command: str) -> None:
        """Show everything about one thing; y copies `command`."""
        self.push_screen(Detail(title, text, command), self._copied)

    def _copied(self, command: str | None) -> None:
        if command:
            self.copy(command)

    def copy(self, command: str) -> None:
        """Copy a command line, and show it, as not every terminal lets programs copy."""
        self.copy_to_clipboard(command)
        self.say(command, title="Copied, if your terminal lets programs copy")


# These import what they need when they are called, in threads: it takes longer than the first frame may.


def _planner(verb: str, word: str = "latest", shot: Snapshot | None = None) -> Planner:
    """Return what plans an action; `word` names a version or an adapter, `shot` the snapshot it is about."""

    def plan(project: Project, trainer: str) -> Plan:
        from upm_cli.tui.planners import PLANNERS, Asked

        return PLANNERS[verb](project, trainer, Asked(word, shot))

    return plan


def _verified(project: Project, shots: tuple[Snapshot, ...]) -> messages.Verified:
    from upm_cli.tui import plans

    return messages.Verified(shots, plans.verify(project, shots))


def _compared(project: Project, before: Snapshot, after: Snapshot) -> messages.Compared:
    from upm_cli.ops import snapshot_diff

    return messages.Compared(snapshot_diff.diff(project.store, before, after))

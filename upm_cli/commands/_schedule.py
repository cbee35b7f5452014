"""Where `upm schedule install` and `remove` do their work: a crontab, or a folder of units; what they say and ask."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upm_cli import actors
from upm_cli.commands._context import Context
from upm_cli.commands._output import emit_document
from upm_cli.commands._text import visible
from upm_cli.errors import NotFoundError, UpmError, UsageError
from upm_cli.ops import schedule, schedule_cron, schedule_units
from upm_cli.ops.schedule_pieces import Piece, diff_of

_DOES = {"create": "writes", "replace": "changes", "remove": "removes"}
_DID = {"create": "wrote", "replace": "changed", "remove": "removed"}


@dataclass(frozen=True, slots=True)
class CronTarget:
    """The crontab of the user that the project belongs to."""

    crontab: schedule_cron.Crontab
    project: Path

    def planned(self, site: schedule.Site) -> list[Piece]:
        return [schedule_cron.planned(self.crontab, self.project, schedule.cron_lines(site))]

    def installed(self) -> list[Piece]:
        return schedule_cron.installed(self.crontab, self.project)

    def apply(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if piece.change != "none":
                self.crontab.write(piece.after or "", piece.before)

    def check_may_write(self, verb: str) -> None:
        """Nothing to look at: the program `crontab` knows who may."""

    def enable(self, pieces: Sequence[Piece]) -> None:
        """Nothing to do: cron reads a crontab at once."""

    def disable(self) -> None:
        """Nothing to do: what runs ends by itself."""

    def reload(self) -> None:
        """Nothing to do: cron reads a crontab at once."""

    def next_steps(self, pieces: Sequence[Piece]) -> list[str]:
        """Return what is to be typed once `pieces` are written."""
        return []

    def steps_after(self) -> list[str]:
        """Return what is to be typed once everything is removed."""
        return []

    def remarks(self) -> list[str]:
        """Return what else runs this project already."""
        folders = (schedule_units.SYSTEM_UNITS, schedule_units.folder_of_user(os.environ))
        service = schedule_units.names(self.project)[0]
        twice = [folder / service for folder in folders if (folder / service).exists()]
        said = [f"{path} runs this project too; one of the two is enough: upm schedule remove" for path in twice]
        if count := schedule_cron.by_hand(self.crontab, self.project):
            said.append(f"{count} lines for this project stand elsewhere in {self.crontab.where}: crontab -e")
        return said

    def leftovers(self, pieces: Sequence[Piece]) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class UnitTarget:
    """A folder of units, of the machine or of one user."""

    folder: Path
    scope: str  # user | system
    project: Path

    def planned(self, site: schedule.Site) -> list[Piece]:
        texts = schedule.units(site, schedule_units.unit_name(self.project), of_user=self.scope == "user")
        return schedule_units.planned(self.folder, self.project, texts)

    def installed(self) -> list[Piece]:
        return schedule_units.installed(self.folder, self.project)

    def apply(self, pieces: Sequence[Piece]) -> None:
        schedule_units.apply(pieces)

    def check_may_write(self, verb: str) -> None:
        """Say before anything is asked that the folder can't be written. Raises StorageError."""
        program = schedule.programs_of(sys.argv[0], sys.executable)
        words = [program, "-C", str(self.project), "schedule", verb, "systemd", f"--{self.scope}"]
        schedule_units.check_writable(self.folder, shlex.join(words))

    def enable(self, pieces: Sequence[Piece]) -> None:
        """Let systemd start the units now, and from now on. Raises PartialError."""
        calls = schedule_units.calls_after(self.folder, self.project, pieces, start=True)
        schedule_units.run_systemctl(self.scope, "the units are installed", calls)

    def disable(self) -> None:
        """Let systemd stop the units that are there. Raises PartialError."""
        units = [unit for unit in schedule_units.to_enable(self.project) if (self.folder / unit).exists()]
        if units:
            schedule_units.run_systemctl(self.scope, "nothing was removed", [["disable", "--now", *units]])

    def reload(self) -> None:
        """Let systemd forget units that are gone. Raises PartialError."""
        schedule_units.run_systemctl(self.scope, "the units are removed", [["daemon-reload"]])

    def next_steps(self, pieces: Sequence[Piece]) -> list[str]:
        """Return what is to be typed once `pieces` are written."""
        calls = schedule_units.calls_after(self.folder, self.project, pieces)
        return [schedule_units.told(self.scope, call) for call in calls]

    def steps_after(self) -> list[str]:
        """Return what is to be typed once everything is removed."""
        calls = [["stop", *schedule_units.to_enable(self.project)], ["daemon-reload"]]
        return [schedule_units.told(self.scope, call) for call in calls]

    def remarks(self) -> list[str]:
        """Return what a person has to know besides: who else runs this project, and when its units don't run."""
        said = []
        if self.scope == "user" and not schedule_units.lingers(schedule.owner_of(self.project)):
            said.append("these units run only while you are logged in; for always: loginctl enable-linger")
        with contextlib.suppress(UpmError):  # no crontab, or none for this user: then nothing runs from it
            if schedule_cron.installed(_crontab(self.project), self.project):
                said.append("the crontab has lines for this project too; upm schedule remove cron takes them away")
        return said

    def leftovers(self, pieces: Sequence[Piece]) -> list[str]:
        return [f"{folder} stays: somebody's additions" for folder in schedule_units.drop_ins(pieces)]


Target = CronTarget | UnitTarget


def scope_of(ctx: Context, kind: str, *, user: bool, system: bool) -> str:
    """Return user or system. Raises UsageError for what makes no sense."""
    if user and system:
        raise UsageError("--user and --system are one or the other", hint="leave one of them out")
    if kind == "cron":
        if system:
            raise UsageError("cron has no --system here: the lines go into a user's crontab", hint="leave it out")
        return "user"
    return "system" if system or (not user and os.geteuid() == 0) else "user"


def target(ctx: Context, kind: str, scope: str, project: Path) -> Target:
    """Return where the project is to be installed. Raises when that can't be here, or not by this user."""
    if kind == "cron":
        return CronTarget(_crontab(project), project)
    schedule_units.find_systemctl()
    found = _units(ctx, scope, project)
    owner = schedule.owner_of(project)
    if scope == "user" and owner != ctx.actor:
        raise UsageError(
            f"these units would be those of {ctx.actor}, but the project belongs to {owner}",
            hint=f"run it as {owner}, or with --system",
        )
    return found


def targets(ctx: Context, kind: str, project: Path, *, user: bool, system: bool) -> list[Target]:
    """Return every place where something of the project may be. A program is missing only if `kind` asks for it."""
    if user and system:
        raise UsageError("--user and --system are one or the other", hint="leave both out to remove all there is")
    found: list[Target] = []
    if kind == "cron" or (not kind and not system and shutil.which("crontab")):
        found.append(CronTarget(_crontab(project), project))
    if kind != "cron":
        scopes = ["user"] if user else ["system"] if system else ["user", "system"]
        found += [_units(ctx, scope, project) for scope in scopes]
    return found


def former_project(ctx: Context) -> Path:
    """Return the project; what -C names need not be one any more, so that what is left of it can be removed."""
    try:
        return ctx.project.resolve()
    except NotFoundError:
        if ctx.project_option is None:
            raise
        given = ctx.project_option
        return (given.parent if given.name == ".upm" else given).resolve()


def ask(ctx: Context, pieces: Sequence[Piece]) -> None:
    """Show what is to be changed, and ask; nothing is asked for a dry run, or if nothing changes."""
    changed = [piece for piece in pieces if piece.change != "none"]
    if not changed or ctx.change.dry_run:
        return
    ctx.say.note(_shown(changed))
    ctx.confirm(f"this {_in_words(changed)}")


def _in_words(pieces: Sequence[Piece]) -> str:
    """Return what happens to what, as in "writes a, b and removes c"."""
    named = {does: [piece.where for piece in pieces if piece.change == change] for change, does in _DOES.items()}
    return " and ".join(f"{does} {', '.join(places)}" for does, places in named.items() if places)


def _shown(pieces: Sequence[Piece]) -> str:
    """Return the difference, safe to show: there are lines of other people in a crontab."""
    return visible(diff_of(pieces), keep="\n\t")


def take_away(found: Sequence[tuple[Target, Sequence[Piece]]], *, disable: bool) -> None:
    """Remove what was planned; with `disable` everything is stopped before anything is gone, and then forgotten."""
    for target, _ in found if disable else ():
        target.disable()
    for target, some in found:
        target.apply(some)
    for target, _ in found if disable else ():
        target.reload()


def answer(
    ctx: Context, payload: dict[str, Any], pieces: Sequence[Piece], following: Sequence[str], *, nothing: str
) -> None:
    """Print what was done, or would be: to people with the difference, if they did not see it yet."""
    rows = [
        {"kind": piece.kind, "path": piece.where, "change": piece.change, "edited": piece.edited} for piece in pieces
    ]
    changed = [piece for piece in pieces if piece.change != "none"]
    said = {
        "files": rows,
        "diff": diff_of(pieces),
        "changed": bool(changed) and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
        "next": list(following),
    }
    steps = [f"next: {step}" for step in following]
    if not changed:
        lines = [nothing, *(f"  {piece.where}" for piece in pieces), *steps]
    elif ctx.change.dry_run:
        edited = [f"! {piece.where} was edited since upm wrote it: --force" for piece in changed if piece.edited]
        lines = [_shown(changed), *edited, f"nothing was changed; without --dry-run this {_in_words(changed)}"]
    else:
        lines = [*(f"{_DID[piece.change]} {piece.where}" for piece in changed), *steps]
    emit_document(ctx, {**payload, **said}, "\n".join(lines))


def _crontab(project: Path) -> schedule_cron.Crontab:
    owner, me = schedule.owner_of(project), os.geteuid()
    is_own = me != 0 or owner == actors.name_of(me)
    return schedule_cron.find(actors.name_of(me) if is_own else owner, is_own=is_own)


def _units(ctx: Context, scope: str, project: Path) -> UnitTarget:
    folder = schedule_units.folder_of_user(ctx.environ) if scope == "user" else schedule_units.SYSTEM_UNITS
    return UnitTarget(folder, scope, project)

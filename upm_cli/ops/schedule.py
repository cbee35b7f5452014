"""What cron or systemd is to run so that a project looks after itself, made for this project and this installation.

`upm schedule show` prints it as it is; `upm schedule install` writes the same under names that no other project has.
"""

import os
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli import actors
from upm_cli.errors import InvalidError

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

_PLAIN: Final = re.compile(r"[\w@+=:,./%$-]+", re.ASCII)  # needs no quotes in a unit
_UNSPEAKABLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
BUSY_IS_FINE: Final = "[ $? -eq 7 ]"  # somebody else is at it: nothing to be told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where upm is and what it works on."""

    program: str  # absolute path of `upm`
    project: Path
    trainers: tuple[str, ...]
    user: str
    delivers: bool = False  # there are adapters
    tells: bool = False  # there are webhooks
    backs_up: bool = False  # a folder for backups is set
    writes: tuple[Path, ...] = ()  # what it writes outside of the project: directories of adapters, snapshots, backups

    def __post_init__(self) -> None:
        for path in (self.program, str(self.project), *map(str, self.writes)):
            check_path(path)

    def upm(self, *words: str) -> str:
        """Return a command that works from any folder and says nothing when all is well."""
        return shlex.join([self.program, "-C", str(self.project), "-q", *words])

    def quiet(self, *words: str, busy: bool = False) -> str:
        """Return the same for cron: its answer goes nowhere; with `busy`, so does that somebody else is at it."""
        return f"{self.upm(*words)} >/dev/null" + (f" || {BUSY_IS_FINE}" if busy else "")


def site_of(store: "Store", settings: "Settings", project: Path, program: str) -> Site:
    """Return the site of a project; its jobs run as the user that its state belongs to, whoever asks."""
    from upm_cli.ops.project import storage_folder
    from upm_cli.store import adapters, trainers

    with store.read() as reader:
        known = [row.name for row in trainers.list_all(reader)]
        places = adapters.list_all(reader)
    elsewhere = [Path(place.location) for place in places if place.kind == "directory"]
    elsewhere.append(storage_folder(project, settings.snapshot_manager.base_path))
    backups = settings.backup.folder
    if backups is not None:
        elsewhere.append(Path(os.path.normpath(project / Path(backups).expanduser())))
    return Site(
        program=program,
        project=project,
        trainers=trainers_of([each.name for each in settings.supervisor.default_trainers], known),
        user=owner_of(project),
        delivers=bool(places),
        tells=bool(settings.notify.webhooks),
        backs_up=backups is not None,
        writes=tuple(dict.fromkeys(path for path in elsewhere if not path.is_relative_to(project))),
    )


def owner_of(project: Path) -> str:
    """Return the user that the state of a project belongs to, or whoever runs this where there is no state."""
    home = project / ".upm"
    return actors.name_of(home.stat().st_uid) if home.exists() else actors.current()


@dataclass(frozen=True, slots=True)
class Job:
    """One line of a crontab: when, why, and the command."""

    when: str
    why: str
    command: str

    def line(self) -> str:
        # cron takes a bare % for a new line, and gives up its meaning after a backslash: none may stand there already.
        # Both are only ever inside single quotes here.
        command = self.command.replace("\\%", "\\''%").replace("%", "\\%")
        return f"{self.when:<14} {command}"


def jobs(site: Site) -> list[Job]:
    """Return what has to run for a project without `upm up`.

    Every one may overlap with itself and with the others: what is busy ends with 7, which is passed over; any other
    failure makes cron send mail.
    """
    found = [
        Job("*/5 * * * *", f"learn what is new: {name}", site.quiet("train", name, "--once", busy=True))
        for name in site.trainers
    ]
    found.append(Job("* * * * *", "rollouts: go on, wait or turn back", site.quiet("rollout", "tick", "--all")))
    if site.delivers:
        sync = site.quiet("sync", "run", "--timeout", "50s", busy=True)
        found.append(Job("* * * * *", "hand models to agents", sync))
    if site.tells:
        found.append(Job("* * * * *", "tell webhooks", site.quiet("notify", "run", busy=True)))
    found += [
        Job("7 * * * *", f"mail when drift is over its limit: {name}", _breach(site, name)) for name in site.trainers
    ]
    found += [
        Job("30 2 * * *", f"drop snapshots past their time: {name}", site.quiet("snapshot", "gc", name, "--yes"))
        for name in site.trainers
    ]
    if site.backs_up:
        found.append(Job("45 2 * * *", "take a backup", site.quiet("backup", "create", busy=True)))
    found.append(Job("0 3 * * *", "prove the record of all decisions", site.quiet("audit", "verify")))
    found.append(Job("5 3 * * *", "prove everything durable", site.quiet("doctor")))
    return found


def _breach(site: Site, name: str) -> str:
    return site.quiet("drift-report", name, "--since", "2h", "--fail-on", "breach")


def crontab(site: Site) -> str:
    """Return a crontab for the user the project belongs to."""
    head = [
        f"# upm, project {site.project}. Install with: crontab -e (as {site.user}); show again: upm schedule show cron",
        "# Nothing is printed by a run that goes well; cron mails what is printed otherwise.",
        "SHELL=/bin/sh",
    ]
    return "\n".join(head) + "\n" + cron_lines(site)


def cron_lines(site: Site) -> str:
    """Return the lines of a crontab, each job with what it is for, without anything above them."""
    return "".join(f"# {job.why}\n{job.line()}\n" for job in jobs(site))


def units(site: Site, name: str = "upm", *, of_user: bool = False) -> dict[str, str]:
    """Return systemd units by file name: a service that runs everything, and a nightly check.

    Those `of_user` run in the user's own manager. It knows neither other users nor the network's targets, and can fence
    a service in only on kernels that let everybody make namespaces; so they are not fenced in.

    Raises InvalidError for a program that systemd does not take, however it is written.
    """
    if any(char in site.program for char in "\"'\\"):
        raise InvalidError(
            f"systemd runs no program with a quote or a backslash in its path: {site.program}",
            hint="install upm somewhere else, or use cron",
            code="UPM-E186",
        )
    return {
        f"{name}.service": _service(site, of_user),
        f"{name}-nightly.service": _nightly(site, of_user),
        f"{name}-nightly.timer": _TIMER,
    }


def _service(site: Site, of_user: bool) -> str:
    network = "" if of_user else "After=network-online.target\nWants=network-online.target\n"
    return f"""\
[Unit]
Description=upm: trainers, drift monitors, rollouts and adapter sync of {_unit_path(site.project)}
{network}
[Service]
Type=notify
NotifyAccess=main
ExecStart={_unit_words([site.program, "-C", str(site.project), "up"])}
ExecReload=/bin/kill -HUP $MAINPID
{_user(site, of_user)}UMask=0077
WatchdogSec=30
Restart=on-failure
RestartSec=5
SuccessExitStatus=143
TimeoutStartSec=180
TimeoutStopSec=60
KillMode=mixed
RestartPreventExitStatus=2 3 4 5 7
{_sandbox(site, of_user)}
[Install]
WantedBy={"default" if of_user else "multi-user"}.target
"""


def _nightly(site: Site, of_user: bool) -> str:
    gc = [site.upm("snapshot", "gc", name, "--yes") for name in site.trainers]
    taken = [site.upm("backup", "create")] if site.backs_up else []
    steps = [*gc, *taken, site.upm("audit", "verify"), site.upm("doctor")]
    lines = "\n".join(f"ExecStart={_unit_words(shlex.split(step))}" for step in steps)
    return f"""\
[Unit]
Description=upm: nightly clean-up and check of {_unit_path(site.project)}

[Service]
Type=oneshot
{_user(site, of_user)}UMask=0077
{lines}
{_sandbox(site, of_user)}"""


_TIMER: Final = """\
[Unit]
Description=upm: nightly clean-up and check

[Timer]
OnCalendar=*-*-* 02:30:00
RandomizedDelaySec=15min
Persistent=true

[Install]
WantedBy=timers.target
"""


def _user(site: Site, of_user: bool) -> str:
    return "" if of_user else f"User={site.user}\n"


def _sandbox(site: Site, of_user: bool) -> str:
    if of_user:
        return "NoNewPrivileges=true\n"
    writes = " ".join([_unit_path(site.project), *(_unit_path(path, "-") for path in site.writes)])
    return f"""\
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
ReadWritePaths={writes}
"""


def _unit_words(words: Sequence[str]) -> str:
    """Return a command as systemd reads it; but for the program, a `$` would name a variable."""
    program, *others = words
    return " ".join([_unit_word(program), *(_unit_word(word.replace("$", "$$")) for word in others)])


def _unit_path(path: Path, prefix: str = "") -> str:
    return _unit_word(f"{prefix}{path}")


def _unit_word(word: str) -> str:
    """Return one word of a unit: quoted if need be, and without specifiers (`%h`)."""
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def check_path(path: str) -> None:
    """Refuse a path that can't be written in one line. Raises InvalidError."""
    if any(unicodedata.category(char) in _UNSPEAKABLE for char in path):
        raise InvalidError(
            f"the path {path!r} has a line break, another control character or no text in it",
            hint="neither cron nor systemd can name it; rename the folder",
            code="UPM-E186",
        )


def together(named: dict[str, str], folder: str = "/etc/systemd/system") -> str:
    """Return several files as one text, each behind a heading that says where it goes."""
    return "\n".join(f"# {folder}/{name}\n{text}" for name, text in named.items())


def programs_of(argv0: str, executable: str) -> str:
    """Return the absolute path of the `upm` that is running, for lines that run without our PATH.

    `argv0` is how it was called, `executable` the Python interpreter: `upm` stands beside it when it was installed.
    """
    beside = Path(executable).with_name("upm")
    called = Path(argv0)
    if called.name == "upm" and called.is_absolute():
        return str(called)
    return str(beside) if beside.exists() else "upm"


def trainers_of(configured: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return every trainer once, those of the configuration first."""
    return tuple(dict.fromkeys([*configured, *known]))

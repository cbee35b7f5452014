"""What cron or systemd is to run so that a project looks after itself, made for this project and this installation."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
    backups: Path | None = None  # where backups go

    def upm(self, *words: str) -> str:
        """Return a command that works from any folder and says nothing when all is well."""
        return shlex.join([self.program, "-C", str(self.project), "-q", *words])

    def quiet(self, *words: str, busy: bool = False) -> str:
        """Return the same for cron: its answer goes nowhere; with `busy`, so does that somebody else is at it."""
        return f"{self.upm(*words)} >/dev/null" + (f" || {BUSY_IS_FINE}" if busy else "")


@dataclass(frozen=True, slots=True)
class Job:
    """One line of a crontab: when, why, and the command."""

    when: str
    why: str
    command: str

    def line(self) -> str:
        command = self.command.replace("%", "\\%")  # cron takes a bare % for a new line
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
    if site.backups is not None:
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
    lines = [text for job in jobs(site) for text in (f"# {job.why}", job.line())]
    return "\n".join([*head, *lines]) + "\n"


def units(site: Site) -> dict[str, str]:
    """Return systemd units by file name: a service that runs everything, and a nightly check."""
    return {
        "upm.service": _service(site),
        "upm-nightly.service": _nightly(site),
        "upm-nightly.timer": _TIMER,
    }


def _service(site: Site) -> str:
    start = shlex.join([site.program, "-C", str(site.project), "up"])
    return f"""\
[Unit]
Description=upm: trainers, drift monitors, rollouts and adapter sync of {site.project}
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
User={site.user}
UMask=0077
WatchdogSec=30
Restart=on-failure
RestartSec=5
SuccessExitStatus=143
TimeoutStartSec=180
TimeoutStopSec=60
KillMode=mixed
RestartPreventExitStatus=2 3 4 5 7
{_sandbox(site)}
[Install]
WantedBy=multi-user.target
"""


def _nightly(site: Site) -> str:
    gc = [site.upm("snapshot", "gc", name, "--yes") for name in site.trainers]
    taken = [] if site.backups is None else [site.upm("backup", "create")]
    steps = [*gc, *taken, site.upm("audit", "verify"), site.upm("doctor")]
    lines = "\n".join(f"ExecStart={step}" for step in steps)
    return f"""\
[Unit]
Description=upm: nightly clean-up and check of {site.project}

[Service]
Type=oneshot
User={site.user}
UMask=0077
{lines}
{_sandbox(site)}"""


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


def _sandbox(site: Site) -> str:
    writable = " ".join(str(path) for path in (site.project, site.backups) if path is not None)
    return f"""\
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
ReadWritePaths={writable}
"""


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

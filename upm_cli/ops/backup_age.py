"""The backups check of `upm validate`: is there one, is it whole, and is it of these days?"""

from typing import Final

from upm_cli.ids import parse_iso
from upm_cli.ops.backup import folder_of
from upm_cli.ops.backup_list import listed
from upm_cli.ops.checks import Check, Subject

OLD_MS: Final = 2 * 86_400_000  # taken every night, one may fail
_NAME: Final = "backups"


def backups(subject: Subject) -> Check:
    """Look for the newest whole backup of this project in `backup.folder`; only its first and last bytes are read."""
    if subject.settings is None:
        return Check(name=_NAME, status="skip", detail="the configuration can't be read")
    if subject.settings.backup.folder is None:
        return Check(name=_NAME, status="skip", detail="backup.folder is not set: upm knows of no backup")
    folder = folder_of(subject.settings, subject.project, None)
    mine = [about for each in listed(folder) if (about := each.about) is not None]
    times = [parse_iso(about.created_at) for about in mine if about.project == subject.project.name]
    if not times:
        return Check(name=_NAME, status="warn", detail=f"no backup in {folder}", hint="upm backup create")
    age_ms = subject.clock.now_ms() - max(times)
    detail = f"{len(times)} in {folder}, the newest is {max(0, age_ms) // 3_600_000} h old"
    if age_ms > OLD_MS:
        hint = "does its line in cron run? upm schedule show cron; then: upm backup create"
        return Check(name=_NAME, status="warn", detail=detail, hint=hint)
    return Check(name=_NAME, status="pass", detail=detail)

"""What the key for agents would do: try again what was given up, worked out by a dry run of the op."""

from functools import partial

from upm_cli.core.records import Adapter
from upm_cli.ops.sync_steer import retry
from upm_cli.tui.plan import Plan
from upm_cli.tui.project import Project
from upm_cli.tui.text import NONE, plain, plural

_SHOWN = 3  # of what waits


def plan_retry(project: Project, name: str, key: str) -> Plan:
    """Plan to deliver to the adapter `key` now, from its first try on; `name`, the chosen trainer, has no say in it.

    Raises RefusedError where the actor may not.
    """
    change = partial(retry, project.store, project.clock, project.settings, key, actor=project.actor)
    waiting = change(dry_run=True)

    def act(reason: str) -> str:
        rows = change(reason=reason)
        return f"{key}: {plural(len(rows), 'pointer')} due now" if rows else f"nothing of {key} waits any more"

    return Plan(
        title=f"Deliver to {plain(key)} again",
        verb="Retry",
        facts=(
            *((each.status.value, _told(each)) for each in waiting[:_SHOWN]),
            *((("and", f"{len(waiting) - _SHOWN} more"),) if len(waiting) > _SHOWN else ()),
            ("then", "whoever delivers tries at once: a worker, or upm sync run"),
        ),
        words=("sync", "retry", key),
        act=act,
        settled="" if waiting else f"nothing of {plain(key)} was given up or waits",
    )


def _told(row: Adapter) -> str:
    tenant = f"{row.tenant_id}: " if row.tenant_id else ""
    has = NONE if row.acked_version is None else f"v{row.acked_version}"
    wants = NONE if row.version is None else f"v{row.version}"
    tried = plural(row.attempts, "attempt")
    return plain(f"{tenant}{has} → {wants} after {tried}: {row.last_error or 'not tried yet'}")

"""Names that the shell completes, kept in a small file beside the state: read without opening it.

Commands that had the state open anyway bring the file up to date. It may be a little old; completion that waits for a
database is worse than completion that does not know the version made a minute ago.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.errors import UpmError

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

FILE: Final = "run/names"  # not .json: it is nobody's status
MOST: Final = 1000  # of one kind


def recall(home: Path) -> dict[str, Any]:
    """Return what was kept: trainers (name → versions), tenants, adapters, webhooks. Empty when there is nothing."""
    try:
        found = json.loads((home / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(store: "Store", settings: "Settings") -> None:
    """Keep the names as they are now, unless the file is of this state and these settings already. Never raises."""
    from upm_cli.store import fsio

    with contextlib.suppress(UpmError, OSError):
        stamp = [*store.token(), settings.full_digest()]
        if recall(store.home).get("of") == stamp:
            return
        plain = json.dumps({**_names(store, settings), "of": stamp})
        fsio.replace_file(store.home / FILE, plain.encode())


def _names(store: "Store", settings: "Settings") -> Mapping[str, Any]:
    from upm_cli.store import adapters, snapshots, tenant_rules, trainers

    with store.read() as reader:
        rows = trainers.list_all(reader)
        versions = snapshots.names(reader)
        places = adapters.list_all(reader)
        ruled = tenant_rules.tenants(reader)
    defaults = settings.supervisor.default_trainers
    tenants = {*ruled, *settings.policy.canary_tenants, *(place.tenant_id for place in places)}
    tenants |= {str(row.tenant_id or "") for row in rows} | {str(each.tenant_id or "") for each in defaults}
    known = sorted({row.name for row in rows} | {each.name for each in defaults})
    return {
        "trainers": {name: versions.get(name, [])[:MOST] for name in known[:MOST]},
        "tenants": sorted(tenants - {"", "*"})[:MOST],
        "adapters": sorted({place.adapter_key for place in places})[:MOST],
        "webhooks": [webhook.name for webhook in settings.notify.webhooks],
    }

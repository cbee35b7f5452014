"""The lease of adapter sync: one process of a project delivers. `upm sync status` asks only who that is."""

from typing import TYPE_CHECKING, Final

from upm_cli.store import lease

if TYPE_CHECKING:
    from upm_cli.store.session import Store

LEASE: Final = "adapter-sync"


def take_lease(store: "Store", command: str) -> lease.Lease:
    """Take the lease of adapter sync. Raises BusyError naming who has it."""
    return lease.acquire(store.home, LEASE, command)

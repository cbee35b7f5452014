"""Which tenants there are: how many windows each has had, and where in the log it came first."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from upm_cli.core.window import Strings

if TYPE_CHECKING:
    from upm_cli.core.judging.trial import Arrays, Rows

MOST: Final = 100_000  # tenants known one by one


@dataclass(slots=True)
class TenantsSeen:
    """A fold over log rows: tenant → [windows, seq of the first]. Windows without a tenant belong to none."""

    known: dict[str, list[int]] = field(default_factory=dict)
    past: int = 0  # windows of tenants that came after the first 100,000

    def advance(self, rows: "Rows") -> None:
        """Count the windows among the next rows of the log."""
        at = np.flatnonzero(rows.is_window & (rows.tenant.lengths() > 0))
        if not at.size:
            return
        tenant = rows.tenant.take(at) if at.size < len(rows) else rows.tenant
        _, first, counts = np.unique(tenant.hashes(), return_index=True, return_counts=True)
        for i in np.argsort(first, kind="stable").tolist():
            name, count = tenant[int(first[i])], int(counts[i])
            entry = self.known.get(name)
            if entry is not None:
                entry[0] += count
            elif len(self.known) < MOST:
                self.known[name] = [count, int(rows.seq[at[first[i]]])]
            else:
                self.past += count

    def dump(self) -> "Arrays":
        names = Strings.of(self.known)
        numbers = np.array(list(self.known.values()), np.int64).reshape(-1, 2)
        return {"names_at": names.offsets, "names": names.data, "numbers": numbers}

    @classmethod
    def load(cls, arrays: "Arrays", past: int) -> Self:
        names = Strings(arrays["names_at"], arrays["names"]).to_list()
        return cls(dict(zip(names, arrays["numbers"].tolist(), strict=True)), past)

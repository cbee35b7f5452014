"""Who is held out of rollouts now, and on what: the anchor and the settings, read."""

from dataclasses import replace
from typing import TYPE_CHECKING

from upm_cli.core.rollouts.holdout import Holdout, salt_of, why_barred
from upm_cli.core.rollouts.routing import Lists
from upm_cli.store import anchors, snapshots

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.core.records import Anchor
    from upm_cli.store.session import Reader


def read(reader: "Reader", settings: "Settings", name: str, lists: Lists) -> Holdout | None:
    """Return the hold-out of a trainer; None where nobody is held out."""
    anchor = anchors.find(reader, name)
    if anchor is None or settings.rollout.holdout_percent == 0:
        return None
    return of(reader, settings, anchor, lists)


def of(reader: "Reader", settings: "Settings", anchor: "Anchor", lists: Lists) -> Holdout:
    """Return the hold-out that `anchor` makes; with a share of 0 % it is nobody."""
    rows = {row.version: row for row in snapshots.list_for(reader, anchor.trainer)}
    return Holdout(
        version=anchor.version,
        percent=settings.rollout.holdout_percent,
        salt=salt_of(anchor.trainer),
        barred=why_barred(rows.get(anchor.version)),
        allow=lists.allow - lists.deny,
    )


def allowing(holdout: Holdout | None, lists: Lists) -> Holdout | None:
    """Return the hold-out under other lists."""
    return None if holdout is None else replace(holdout, allow=lists.allow - lists.deny)

"""Adapters: add, find and remove the places that models are handed to. How they stand: ops/adapter_view.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upm_cli.adapters.kinds import check_http
from upm_cli.clock import Clock
from upm_cli.core.records import Adapter, Mode
from upm_cli.core.rollouts.exposure import tenant_name
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.ids import check_name
from upm_cli.nearest import hint_for
from upm_cli.ops import authority
from upm_cli.ops.adapter_places import check_directory, check_secret
from upm_cli.store import adapters

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store, Tx

MOST_NAME = 256  # characters of a tenant's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An adapter as it was asked for. Exactly one of `path` and `url` is given."""

    key: str
    trainer: str
    tenants: tuple[str, ...] = ()  # none: windows without a tenant
    path: Path | None = None
    url: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    is_shadow: bool = False  # the newest snapshot goes there, whatever tenants get


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """The rows of an adapter, and those of them that are new; none: it was there already. `warnings` for people."""

    rows: tuple[Adapter, ...]
    new: tuple[Adapter, ...]
    warnings: tuple[str, ...] = ()


def add(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    wanted: Wanted,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Added:
    """Add an adapter, or further tenants to one. The same again changes nothing.

    Its place is checked: a directory is made if it is missing, and refused if somebody else could change it. Raises
    UsageError for what can't be, and when another adapter writes the same pointer; RefusedError; IntegrityError.
    """
    authority.require(settings, store.home, actor, "adapter.add")
    rows, warnings = _rows(store.home, clock, settings, wanted, dry_run=dry_run)
    with store.write(actor=actor) as tx:
        known = adapters.list_all(tx)
        mine = {row.tenant_id: row for row in known if row.adapter_key == wanted.key}
        _refuse_other(wanted.key, mine, rows)
        new = tuple(row for row in rows if row.tenant_id not in mine)
        _refuse_shared(known, new)
        if new and not dry_run:
            adapters.put_many(tx, new)
            first = new[0]
            tx.ledger(
                "adapter.add",
                wanted.key,
                trainer=first.trainer,
                kind=first.kind,
                location=first.location,
                tenants=[row.tenant_id for row in new],
                reason=reason,
            )
    return Added(rows=tuple(mine.get(row.tenant_id, row) for row in rows), new=new, warnings=warnings)


def _rows(
    home: Path, clock: Clock, settings: "Settings", wanted: Wanted, *, dry_run: bool
) -> tuple[list[Adapter], tuple[str, ...]]:
    check_name(wanted.key, "adapter")
    secrets = {"token_file": wanted.token_file, "ca_file": wanted.ca_file}
    metadata: dict[str, Any] = {
        name: str(check_secret(path, name)) for name, path in secrets.items() if path is not None
    }
    if wanted.is_shadow:
        metadata["is_shadow"] = True
    kind, location, warnings = _place(home, settings, wanted, dry_run=dry_run)
    rows = [
        Adapter(
            adapter_key=wanted.key,
            tenant_id=tenant,
            trainer=wanted.trainer,
            kind=kind,
            location=location,
            mode=Mode.SHADOW,
            created_at_ms=clock.now_ms(),
            updated_at_ms=clock.now_ms(),
            metadata=metadata,
        )
        for tenant in dict.fromkeys(_tenant(each) for each in wanted.tenants or ("",))
    ]
    return rows, warnings


def _place(home: Path, settings: "Settings", wanted: Wanted, *, dry_run: bool) -> tuple[str, str, tuple[str, ...]]:
    """Return kind and location, checked, and warnings for people."""
    if (wanted.path is None) == (wanted.url is None):
        raise UsageError("an adapter has either a folder or a URL", hint="--path DIR or --url URL", code="UPM-E121")
    if wanted.path is not None:
        if wanted.token_file is not None or wanted.ca_file is not None:
            raise UsageError("a directory needs no token and no CA", hint="leave them out", code="UPM-E121")
        return "directory", *check_directory(wanted.path, home, dry_run=dry_run)
    if wanted.token_file is None:
        raise UsageError("an agent wants a token", hint="--token-file FILE (mode 0600)", code="UPM-E121")
    return "http", check_http(wanted.url or "", wanted.token_file, settings), ()


def _tenant(name: str) -> str:
    """Return the tenant's name; empty for windows without one. Raises UsageError for one that nobody can have."""
    if len(name) > MOST_NAME or not name.isprintable():
        raise UsageError(
            f"{name[:40]!r} is no name of a tenant",
            hint=f"at most {MOST_NAME} printable characters, as in tenant_id of the windows",
            code="UPM-E021",
        )
    return tenant_name(name)


def _refuse_other(key: str, mine: Mapping[str, Adapter], rows: Sequence[Adapter]) -> None:
    """Refuse another place, trainer or token under a known key."""
    for known in mine.values():
        for name in ("kind", "location", "trainer"):
            before, after = getattr(known, name), getattr(rows[0], name)
            if before != after:
                raise UsageError(
                    f"adapter {key} is there already, with {name} {before}, not {after}",
                    hint=f"choose another name, or first: upm adapter remove {key}",
                    code="UPM-E121",
                )
        kept = ("token_file", "ca_file", "is_shadow")
        before_after = [{name: row.metadata.get(name) for name in kept} for row in (known, rows[0])]
        if before_after[0] != before_after[1]:
            raise UsageError(
                f"adapter {key} is there already, with another token file or CA file, or with or without --shadow",
                hint=f"to change them: upm adapter remove {key}, then add it again",
                code="UPM-E121",
            )


def _refuse_shared(known: Sequence[Adapter], new: Sequence[Adapter]) -> None:
    """Refuse that two adapters write the same pointer."""
    taken = {(row.location, row.trainer, row.tenant_id): row for row in known}
    for row in new:
        other = taken.get((row.location, row.trainer, row.tenant_id))
        if other is not None:
            who = f"tenant {row.tenant_id}" if row.tenant_id else "windows without a tenant"
            raise UsageError(
                f"adapter {other.adapter_key} hands models of {row.trainer} for {who} to {row.location} already",
                hint="one pointer has one writer: choose another place or tenant",
                code="UPM-E121",
                context={"adapter": other.adapter_key, "location": row.location},
            )


def find(reader: "Reader", key: str) -> list[Adapter]:
    """Return the rows of an adapter. Raises NotFoundError."""
    found = adapters.find(reader, key)
    if not found:
        known = sorted({row.adapter_key for row in adapters.list_all(reader)})
        raise NotFoundError(
            f"no adapter {key!r}",
            hint=hint_for(key, known, f"there are: {', '.join(known[:10])}")
            if known
            else "there are none yet: upm adapter add --help",
            code="UPM-E122",
            context={"adapter": key, "known": known[:10]},
        )
    return found


def remove(
    store: "Store",
    settings: "Settings",
    key: str,
    *,
    tenants: Sequence[str] = (),
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> list[Adapter]:
    """Forget an adapter, or only some `tenants` of it; return the rows that went. What lies at its place stays there.

    Raises NotFoundError, RefusedError.
    """
    authority.require(settings, store.home, actor, "adapter.remove")
    with store.write(actor=actor) as tx:
        rows = find(tx, key)
        missing = set(tenants) - {row.tenant_id for row in rows}
        if missing:
            hint = hint_for(min(missing), [row.tenant_id for row in rows], f"upm adapter show {key}")
            raise NotFoundError(f"adapter {key} has no tenant {min(missing)!r}", hint=hint, code="UPM-E122")
        going = [row for row in rows if not tenants or row.tenant_id in tenants]
        if not dry_run:
            take_out(tx, key, going, reason)
    return going


def take_out(tx: "Tx", key: str, rows: Sequence[Adapter], reason: str) -> None:
    """Remove `rows` of the adapter `key`, at least one, and put it on the record. Nobody is asked."""
    for row in rows:
        adapters.remove(tx, key, row.tenant_id)
    tx.ledger(
        "adapter.remove",
        key,
        trainer=rows[0].trainer,
        kind=rows[0].kind,
        location=rows[0].location,
        tenants=[row.tenant_id for row in rows],
        reason=reason,
    )


def exist(reader: "Reader", trainer: str | None = None) -> bool:
    """Say whether there is any adapter (of `trainer`)."""
    return any(trainer is None or row.trainer == trainer for row in adapters.list_all(reader))

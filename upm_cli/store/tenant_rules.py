"""Tenant rules: who is always part of a canary, who never is, and who is held back."""

from upm_cli.core.records import TenantRule
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, rule: TenantRule) -> None:
    """Add or replace a rule about a tenant."""
    tx.put("tenant_rules", codec(TenantRule).encode(rule))


def list_for(r: Reader, trainer: str) -> list[TenantRule]:
    """Return the rules of a trainer, by tenant."""
    return [codec(TenantRule).decode(row) for row in r.query("tenant_rules.list_for", trainer=trainer)]


def remove(tx: Tx, trainer: str, tenant_id: str, rule: str) -> None:
    """Lift a rule."""
    tx.execute("tenant_rules.remove", trainer=trainer, tenant_id=tenant_id, rule=rule)


def tenants(r: Reader) -> list[str]:
    """Return the tenants that any trainer has a rule about."""
    return [str(row["tenant_id"]) for row in r.query("tenant_rules.tenants")]

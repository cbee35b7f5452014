"""Actions on record as commands: what a person types to do again what a restored state does not know."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from upm_cli.core.past import Entry
from upm_cli.core.restoring import trainer_of


def command(entry: Entry) -> str:
    """Return the command that does what `entry` tells of; empty where no one command does."""
    saying = _COMMANDS.get(entry["action"])
    try:
        return saying(entry, entry["details"]) if saying else ""
    except (LookupError, TypeError, ValueError):  # written by another version of upm
        return ""


def _snapshot(words: str, *, reason: bool = False) -> "Callable[[Entry, Mapping[str, Any]], str]":
    def said(entry: Entry, details: Mapping[str, Any]) -> str:
        name, _, version = str(entry["subject"]).partition("@")
        return f"upm {words} {name} {version}" + (' --reason "…"' if reason else "")

    return said


def _trainer(words: str) -> "Callable[[Entry, Mapping[str, Any]], str]":
    return lambda entry, _: f"upm {words} {trainer_of(entry)}"


def _activate(entry: Entry, details: Mapping[str, Any]) -> str:
    share = "" if details["ring"] == "shadow" or details["percent"] == 100 else f" --percent {details['percent']}"
    return f"{_snapshot('activate')(entry, details)} --to-stage {details['ring']}{share}"


def _trainer_add(entry: Entry, details: Mapping[str, Any]) -> str:
    tenant = f" --tenant {details['tenant']}" if details.get("tenant") else ""
    return f"upm trainer add {trainer_of(entry)} --mode {details['mode']}{tenant}"


def _anchor(entry: Entry, details: Mapping[str, Any]) -> str:
    return f"upm anchor set {trainer_of(entry)} {details['version']}"


def _adapter(entry: Entry, details: Mapping[str, Any]) -> str:
    place = "--path" if details["kind"] == "directory" else "--url"
    tenants = "".join(f" --tenant {tenant}" for tenant in details["tenants"] if tenant)
    return f"upm adapter add {entry['subject']} {place} {details['location']} --trainer {details['trainer']}{tenants}"


def _sign(_: Entry, details: Mapping[str, Any]) -> str:
    return "upm snapshot sign" if details.get("signed") else ""


_COMMANDS: Final[Mapping[str, "Callable[[Entry, Mapping[str, Any]], str]"]] = {
    "snapshot.activate": _activate,
    "snapshot.rollback": lambda entry, details: f"upm rollback {trainer_of(entry)} --to v{details['to_version']}",
    "snapshot.release": _snapshot("snapshot release", reason=True),
    "snapshot.pin": _snapshot("snapshot pin"),
    "snapshot.unpin": _snapshot("snapshot unpin"),
    "snapshot.create": _trainer("snapshot create"),
    "snapshot.gc": lambda *_: "upm snapshot gc --yes",
    "snapshot.sign": _sign,
    "keys.init": _sign,
    "keys.rotate": _sign,
    "keys.revoke": lambda *_: "upm validate",
    "trainer.add": _trainer_add,
    "trainer.remove": _trainer("trainer remove"),
    "trainer.resume": _trainer("resume"),
    "rollout.start": _trainer("rollout start"),
    "rollout.promote": _trainer("rollout promote"),
    "rollout.pause": _trainer("rollout pause"),
    "rollout.resume": _trainer("rollout resume"),
    "rollout.abort": _trainer("rollout abort"),
    "rollout.retry": _trainer("rollout retry"),
    "freeze.lift": lambda entry, _: f"upm rollout unfreeze {'--all' if entry['subject'] == '*' else entry['subject']}",
    "override.grant": lambda entry, details: f'upm gate override {details["gate"]} {trainer_of(entry)} --reason "…"',
    "override.approve": lambda *_: "upm gate overrides",
    "signoff.give": lambda entry, details: f"upm rollout sign-off {details['item']} {trainer_of(entry)}",
    "tenant.allow": lambda entry, details: f"upm tenant allow {details['tenant']} {trainer_of(entry)}",
    "tenant.clear": lambda entry, details: f"upm tenant clear {details['tenant']} {trainer_of(entry)}",
    "adapter.add": _adapter,
    "adapter.remove": lambda entry, _: f"upm adapter remove {entry['subject']}",
    "adapter.lower": lambda *_: 'upm sync run --lower-epoch --reason "…"',
    "letters.seen": lambda entry, _: f'upm events dead-letters {trainer_of(entry)} --acknowledge --reason "…"',
    "anchor.set": _anchor,
    "anchor.clear": _trainer("anchor clear"),
}

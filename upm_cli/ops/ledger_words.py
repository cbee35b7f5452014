"""Ledger entries in words: one short line for each, for lists, the dashboard and `upm explain`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Details = Mapping[str, Any]

#: Parts of an entry that are for machines, or that every reader shows in a place of its own.
RECORD: Final = ("decision_id", "inputs", "inputs_digest", "outcome", "numbers", "config_digest", "reason")


def what(action: str, details: Details) -> str:
    """Return what an entry says was done, without who and why; empty when its action says it all."""
    telling = _WORDS.get(action) or _WORDS.get(f"{action.partition('.')[0]}.") or _others
    try:
        return telling(details)
    except (LookupError, TypeError, ValueError, AttributeError):  # written by another version of upm
        return _others(details)


def _activate(details: Details) -> str:
    before = details.get("previous_version")
    share = "" if details["ring"] == "shadow" else f" {details['percent']} %"
    return f"live in {details['ring']}{share}" + (f", before: v{before}" if before else "")


def _refuse(details: Details) -> str:
    return f"refused for {details['ring']}: {details['error']['message']}"


def _override(details: Details) -> str:
    until = f" until {details['expires_at'][:16]}Z" if details.get("expires_at") else ""
    waits = ", once a second person agrees" if details.get("needs_approval") else ""
    return f"gate {details['gate']}{until}{waits}"


def _rollback(details: Details) -> str:
    return f"back to v{details['to_version']} in {_and(details['rings'])}"


def _quarantine(details: Details) -> str:
    return (
        f"P95 {details['drift_p95']:.3f} ≥ {details['threshold']:g}{_barred(details)}; "
        f"recommends {details['recommendation'] or 'nothing'}"
    )


def _extend(details: Details) -> str:
    return f"learned from failed window {details['drift_window_id']}{_barred(details)}"


def _barred(details: Details) -> str:
    barred = ", ".join(f"v{str(name).partition('@')[2]}" for name in details["snapshot_ids"])
    return f"; bars {barred}" if barred else ""


def _verdict(details: Details) -> str:
    numbers = details["numbers"]
    said = f"contest {details['contest_id']}: {details['outcome']['verdict']} on {numbers['windows']:,} windows"
    value, low, high = (numbers[name] for name in ("value", "low", "high"))
    if None in (value, low, high):
        return said
    return f"{said}, mean excess loss {value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _harm(details: Details) -> str:
    return f"contest {details['contest_id']} failed{_barred(details)}; recommends {details['recommendation']}"


def _withdraw(details: Details) -> str:
    to = _version(details["to_version"])
    bars = "; it is quarantined" if details["quarantined"] else ""
    return f"out of {_and(details['rings'])}, {to} serves there again: {details['cause']}{bars}"


def _jump(details: Details) -> str:
    return f"{details['what']}: the wall clock moved by {details['wall_ms']:,} ms, {details['counted_ms']:,} ms count"


def _stop(details: Details) -> str:
    return "after everything that was read is learned" if details["drain"] else ""


def _tenant(details: Details) -> str:
    before, after = (_version(details[key]) for key in ("from_version", "to_version"))
    return f"tenant {details['tenant']}: " + (f"{before} → {after}" if before != after else f"stays on {after}")


def _anchor(details: Details) -> str:
    if "version" not in details:
        return f"v{details['was']} is no anchor any more"
    was = f", before: v{details['was']}" if details["was"] else ""
    return f"{details['percent']} % of tenants stay on v{details['version']}{was}"


def _freeze(details: Details) -> str:
    return f"until {details['until'][:16]}Z" if details["until"] else "until it is lifted"


def _signoff(details: Details) -> str:
    note = f": {details['note']}" if details.get("note") else ""
    return f"{details['item']}{note}" + (f", signed by {details['was_by']}" if "was_by" in details else "")


def _drill(details: Details) -> str:
    if "error" in details:
        return f"failed: {details['error']['message']}"
    of = " of a made-up case" if details["made_up"] else ""
    failed = "" if details["ok"] else f"; not as it must be: {_and(details['failed'])}"
    return f"v{details['from_version']} back to v{details['to_version']}{of} in {details['total_ms']:.0f} ms{failed}"


def _version(version: Any) -> str:
    return "nothing" if version is None else f"v{version}"


def _gc(details: Details) -> str:
    return f"{len(details['versions'])} deleted"


def _release(details: Details) -> str:
    return f"no longer quarantined; it was: {details['was'] or 'no reason given'}"


def _change(details: Details) -> str:
    return f"{_short(details['before'])} → {_short(details['after'])}"


def _letters_seen(details: Details) -> str:
    return f"looked at {details['count']:,} dead letters"


def _add(details: Details) -> str:
    tenant = f", tenant {details['tenant']}" if details.get("tenant") else ""
    return f"mode {details['mode']}, stream {details['stream']}{tenant}"


def _remove(details: Details) -> str:
    return f"with {details['snapshots']} snapshots"


def _fixed(details: Details) -> str:
    said = f"removed {len(details['removed'])} leftovers, made {len(details['made_private'])} files private"
    return said + (", made the reserve again" if details.get("made_again") else "")


def _restored(details: Details) -> str:
    return f"the state went back to generation {details['from_generation']}"


def _again(details: Details) -> str:
    said = what(str(details["action"]), details) if details["action"] != "restore.again" else ""
    return f"{details['action']} of entry {details['entry']} done again" + (f": {said}" if said else "")


def _create(details: Details) -> str:
    return f"sha256 {details['digest'][:12]}"


def _keys_init(details: Details) -> str:
    return f"the first key; signed {_count(details['signed'])}"


def _keys_prepare(details: Details) -> str:
    return f"ready to sign after {details['before']}"


def _keys_rotate(details: Details) -> str:
    return f"signs in the place of {details['before'] or 'none'}; signed {_count(details['signed'])} anew"


def _keys_revoke(details: Details) -> str:
    return f"was {details['was']}; unsigned since: {_count(details['unsigned'])}"


def _sign(details: Details) -> str:
    return f"{_count(details['signed'])} with {details['keyid']}"


def _count(names: Sequence[str]) -> str:
    return f"{len(names):,} snapshot{'' if len(names) == 1 else 's'}"


def _nothing(_: Details) -> str:
    return ""


def _rollout(details: Details) -> str:
    """Tell what a rollout decided, and where it stands."""
    outcome = details["outcome"]
    if "refused" in outcome:
        return f"refused: {outcome['refused']['message']}"
    said = "; ".join(filter(None, (_decided(each) for each in outcome["decisions"])))
    return f"{said or 'nothing to do'} ({outcome['state']['phase']})"


def _decided(decision: Details) -> str:
    kind = str(decision["kind"])
    if kind == "activate":
        return f"v{decision['version']} to {decision['percent']} % in {decision['ring']}"
    if kind == "rollback":
        route = f"v{decision['version']} back to {_version(decision['to'])}"
        return f"{route} in {_and(decision['rings'])}: {decision['cause']}"
    if kind == "hold":
        return f"hold: gate {decision['gates'][0]['gate']}: {decision['gates'][0]['detail']}"
    if kind == "promote":
        return f"v{decision['version']} promoted"
    why = decision.get("cause") or decision.get("detail") or decision.get("tenant") or ""
    return kind.replace("_", " ") + (f": {why}" if why else "")


def _others(details: Details) -> str:
    """Tell an entry that nothing more is known of: its numbers, or else its details."""
    numbers = details.get("numbers")
    told = {key: value for key, value in details.items() if key not in RECORD}
    if numbers and isinstance(numbers, Mapping):
        told = dict(numbers)
    return ", ".join(f"{key} {_short(value)}" for key, value in told.items() if value not in (None, "", [], {}))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _and([str(each) for each in value]) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def _adapter(details: Details) -> str:
    whose = [tenant or "windows without a tenant" for tenant in details["tenants"]]
    return f"{details['kind']} {details['location']}, models of {details['trainer']} for {_and(whose[:3])}" + (
        f" and {len(whose) - 3} more" if len(whose) > 3 else ""
    )


def _retried(details: Details) -> str:
    return f"{len(details['adapters'])} tried again"


def _lowered(details: Details) -> str:
    places = [f"{name} from epoch {epoch}, serial {serial}" for name, (epoch, serial) in details["adapters"].items()]
    return "may step down: " + ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def _backup(details: Details) -> str:
    keys = ", private keys in it" if details["keys"] else ""
    dropped = f"; removed {len(details['dropped'])} older" if details["dropped"] else ""
    return f"generation {details['generation']}, {details['size_bytes']:,} bytes{keys}{dropped}"


def _from_backup(details: Details) -> str:
    left_out = _and(details["adapters_left_out"])
    return f"this project was made of {details['file']}" + (f", without adapters {left_out}" if left_out else "")


_WORDS: Final[Mapping[str, Callable[[Details], str]]] = {
    "snapshot.activate": _activate,
    "snapshot.refuse": _refuse,
    "snapshot.rollback": _rollback,
    "snapshot.release": _release,
    "snapshot.gc": _gc,
    "snapshot.create": _create,
    "snapshot.pin": _nothing,
    "snapshot.unpin": _nothing,
    "snapshot.sign": _sign,
    "keys.init": _keys_init,
    "keys.prepare": _keys_prepare,
    "keys.rotate": _keys_rotate,
    "keys.revoke": _keys_revoke,
    "drift.quarantine": _quarantine,
    "drift.served": _quarantine,
    "drift.extend": _extend,
    "trainer.mode": _change,
    "trainer.config": _change,
    "trainer.add": _add,
    "trainer.remove": _remove,
    "letters.seen": _letters_seen,
    "trainer.pause": _nothing,
    "trainer.resume": _nothing,
    "supervisor.stop": _stop,
    "worker.restart": _nothing,
    "state.restored": _restored,
    "restore.again": _again,
    "doctor.fix": _fixed,
    "backup.create": _backup,
    "backup.restore": _from_backup,
    "evidence.verdict": _verdict,
    "evidence.quarantine": _harm,
    "rollout.withdraw": _withdraw,
    "rollout.": _rollout,
    "freeze.set": _freeze,
    "signoff.": _signoff,
    "drill.rollback": _drill,
    "clock.jump": _jump,
    "tenant.": _tenant,
    "anchor.": _anchor,
    "override.": _override,
    "adapter.add": _adapter,
    "adapter.remove": _adapter,
    "adapter.retry": _retried,
    "adapter.lower": _lowered,
}
#: The actions that are told in words of their own; of a family ("tenant.") what it is called.
ACTIONS: Final = tuple(f"{action}*" if action.endswith(".") else action for action in _WORDS)

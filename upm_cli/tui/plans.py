"""What a key would do, worked out before anybody is asked: the plan, its numbers, and the command that does the same.

Every function here reads (a dry run of the op that the command line calls too) and may take a while: call it in a
thread. So may `Plan.act`. Both raise UpmError.
"""

from collections.abc import Sequence
from functools import partial

from upm_cli.core.records import Ring, Snapshot
from upm_cli.ops import authority, keeping, quarantined, status, trainers
from upm_cli.ops.activate import Override, activate
from upm_cli.ops.rollback import RolledBack, rollback
from upm_cli.ops.take import take
from upm_cli.tui.plan import Plan, about, agents_of, number_of
from upm_cli.tui.project import Project
from upm_cli.tui.text import plain, score

_TO_BE_GIVEN = "to be given"  # in place of a reason that a dry run asks for


def plan_snapshot(project: Project, name: str) -> Plan:
    """Plan to take a snapshot of what the trainer has committed."""
    store, clock, settings, actor = project.store, project.clock, project.settings, project.actor
    same = take(store, clock, settings, name, actor=actor, dry_run=True)
    details = status.trainer_details(store, settings, name)

    def act(reason: str) -> str:
        made = take(store, clock, settings, name, actor=actor, reason=reason)
        if made is None or not made.is_new:
            return f"nothing learned meanwhile; {name} has no new snapshot"
        return f"v{made.snapshot.version} of {name} taken: {made.snapshot.windows:,} windows"

    return Plan(
        title=f"Take a snapshot of {name}",
        verb="Snapshot",
        facts=(
            ("makes", f"v{details['last_version'] + 1}"),
            ("learned", f"{details['windows']['trained']:,} windows, {details['windows']['pending']:,} wait"),
            ("loss", score(details["loss"]["progressive"])),
        ),
        words=("snapshot", "create", name),
        act=act,
        settled="" if same is None else f"nothing learned since v{same.snapshot.version} of {name}; no new snapshot",
    )


def plan_activate(project: Project, name: str, word: str, *, override: bool = False) -> Plan:
    """Plan to make the version that `word` names live in the ring of the trainer's mode.

    Its bytes are proven and the gates asked already here; raises RefusedError naming the gate. With `override` the
    gates that refuse are excepted, where an admin may.
    """
    change = partial(activate, project.store, project.clock, project.settings, name, actor=project.actor)
    planned = change(word, dry_run=True, override=Override(reason=_TO_BE_GIVEN) if override else None)
    live = planned.activation
    rows = {row.version: row for row in status.snapshots_of(project.store, name)}
    share = "reaches no tenants" if live.ring is Ring.SHADOW else f"{live.percent} % of tenants"
    facts = [
        ("now", number_of(rows, live.previous_version, "")),
        ("then", number_of(rows, live.version, "proven ✓")),
        ("where", f"{live.ring}, {share}"),
        *agents_of(project, name),
        ("gates", "  ".join(f"✓ {gate.gate}" for gate in planned.gates if gate.gate not in planned.overridden)),
    ]
    if planned.overridden:
        hours = project.settings.policy.override_hours
        facts.append(("excepted", f"✗ {', '.join(planned.overridden)}: for {hours} h at most, on the record"))
    if planned.lifted_pin is not None:
        facts.append(("lifts", f"the pin on v{planned.lifted_pin.version}: {plain(planned.lifted_pin.reason)}"))

    def act(reason: str) -> str:
        past = Override(reason=reason) if override else None
        done = change(str(live.version), ring=live.ring, reason=reason, override=past).activation
        return f"v{done.version} of {name} is live in {done.ring}, epoch {done.epoch}.  Undo: b"

    words = ("activate", name, str(live.version), "--to-stage", live.ring.value)
    return Plan(
        title=f"Activate v{live.version} of {name}" + (" past gates" if planned.overridden else ""),
        verb="Activate",
        facts=tuple(facts),
        words=(*words, "--override") if planned.overridden else words,
        act=act,
        settled=f"v{live.version} of {name} is live in {live.ring} already" if planned.is_done else "",
        type_name=name if planned.overridden else "",
        needs_reason=bool(planned.overridden),
    )


def plan_rollback(project: Project, name: str) -> Plan:
    """Plan to take the trainer back to its last known good version; the way there is proven already here."""
    digest = project.settings.full_digest()
    go_back = partial(rollback, project.store, project.clock, name, actor=project.actor, config_digest=digest)
    planned = go_back(reason="", dry_run=True)
    rows = {row.version: row for row in status.snapshots_of(project.store, name)}
    drift = status.trainer_details(project.store, project.settings, name)["drift"]
    rings = " and ".join(planned.rings)
    facts = [
        ("from", number_of(rows, planned.from_version, "")),
        ("drift", f"P95 {score(drift['p95'])}, limit {drift['limit']:g}, {drift['n']:,} samples"),
        ("to", number_of(rows, planned.to_version, "proven ✓")),
        ("because", planned.because),
        ("where", f"{rings}, which is pinned then"),
        *agents_of(project, name),
        ("after", _afterwards(planned)),
        *(("skips", error.message) for error in planned.skipped[:2]),
    ]

    def act(reason: str) -> str:
        done = go_back(to=str(planned.to_version), ring=planned.rings[0], reason=reason)
        if done.is_done:
            return f"{name} is on v{done.to_version} already"
        return f"{name}: v{done.from_version} → v{done.to_version} in {rings}, epoch {done.epoch}; incident opened"

    return Plan(
        title=f"Roll back {name}",
        verb="Roll back",
        facts=tuple(facts),
        words=("rollback", name, "--to", str(planned.to_version), "--ring", planned.rings[0].value),
        act=act,
        settled=f"{name} is on v{planned.to_version} already; further back: "
        f"{project.command(['rollback', name, '--to', 'VERSION'])}"
        if planned.is_done
        else "",
    )


def _afterwards(planned: RolledBack) -> str:
    bad = f"v{planned.from_version} is quarantined"
    if planned.learner == "put back":
        return f"{bad}; learns on from v{planned.to_version}"
    return f"{bad}; the trainer is paused (no checkpoint)"


def plan_pause(project: Project, name: str) -> Plan:
    """Plan to hold the trainer, or to let it go on when it is held."""
    details = status.trainer_details(project.store, project.settings, name)
    desired = "run" if details["desired"] == "pause" else "pause"
    verb, word, done = ("Resume", "resume", "resumed") if desired == "run" else ("Pause", "pause", "paused")
    authority.require(project.settings, project.store.home, project.actor, word)

    def act(reason: str) -> str:
        trainers.ensure(project.store, project.clock, project.settings, name, actor=project.actor)
        _, changed = trainers.set_desired(
            project.store, project.clock, name, desired, actor=project.actor, reason=reason
        )
        return f"{name} {done}" if changed else f"{name} was {done} already"

    held = (("paused", plain(details["pause_reason"])),) if desired == "run" else ()
    then = "goes on where it stopped" if desired == "run" else "finishes its batch and waits; windows keep arriving"
    return Plan(
        title=f"{verb} {name}",
        verb=verb,
        facts=(
            ("now", details["state"]),
            *held,
            ("then", then),
            ("waiting", f"{details['windows']['pending']:,} windows"),
        ),
        words=(word, name),
        act=act,
    )


def plan_release(project: Project, name: str, shot: Snapshot) -> Plan:
    """Plan to lift the quarantine of a snapshot. Raises RefusedError where the actor may not."""
    change = partial(
        quarantined.release,
        project.store,
        project.clock,
        project.settings,
        name,
        str(shot.version),
        actor=project.actor,
    )
    _, changes = change(reason=_TO_BE_GIVEN, dry_run=True)

    def act(reason: str) -> str:
        change(reason=reason)
        return f"v{shot.version} of {name} is not quarantined any more"

    return Plan(
        title=f"Release v{shot.version} of {name}",
        verb="Release",
        facts=(
            ("snapshot", about(shot, "")),
            ("now", "quarantined"),
            ("because", plain(shot.quarantine_reason or "no reason was given")),
            ("then", "it can be activated again; so can what learned on from it"),
        ),
        words=("snapshot", "release", name, str(shot.version)),
        act=act,
        settled="" if changes else f"v{shot.version} of {name} is not quarantined",
        type_name=name,
        needs_reason=True,
    )


def plan_pin(project: Project, name: str, shot: Snapshot) -> Plan:
    """Plan to keep a snapshot for good, or no longer."""
    wanted = not shot.pinned
    verb, word = ("Pin", "pin") if wanted else ("Unpin", "unpin")

    def act(reason: str) -> str:
        keeping.set_pinned(project.store, name, str(shot.version), wanted, actor=project.actor, reason=reason)
        return f"v{shot.version} of {name} is {'pinned' if wanted else 'not pinned any more'}"

    then = "gc never deletes it" if wanted else "gc may delete it when its time has come"
    return Plan(
        title=f"{verb} v{shot.version} of {name}",
        verb=verb,
        facts=(("snapshot", about(shot, "")), ("then", then)),
        words=("snapshot", word, name, str(shot.version)),
        act=act,
    )


def verify(project: Project, shots: Sequence[Snapshot]) -> dict[int, str]:
    """Read snapshots back; return by version what is wrong, or nothing ("")."""
    found = keeping.verify(project.store, shots)
    return {each.snapshot.version: each.error.message if each.error else "" for each in found}

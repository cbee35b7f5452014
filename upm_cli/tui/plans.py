"""What a key would do, worked out before anybody is asked: the plan, its numbers, and the command that does the same.

Every function here reads (a dry run of the op that the command line calls too) and may take a while: call it in a
thread. So may `Plan.act`. Both raise UpmError.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from upm_cli.core.records import Ring, Snapshot
from upm_cli.ops import authority, keeping, status, trainers
from upm_cli.ops.activate import activate
from upm_cli.ops.rollback import RolledBack, rollback
from upm_cli.ops.take import take
from upm_cli.tui.project import Project
from upm_cli.tui.text import loss_of, plain, score, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One action that waits for a yes. `settled` is not empty when there is nothing to do, and says why."""

    title: str
    verb: str
    facts: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...]  # the command after `upm`, without --reason and --yes
    act: Callable[[str], str]  # takes the reason, returns what was done
    settled: str = ""

    def command(self, project: Project, reason: str) -> str:
        """Return the command line that does the same."""
        why = ("--reason", reason) if reason else ()
        return project.command([*self.words, *why, "--yes"])


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


def plan_activate(project: Project, name: str, word: str) -> Plan:
    """Plan to make the version that `word` names live in the ring of the trainer's mode.

    Its bytes are proven and the gates asked already here; raises RefusedError naming the gate.
    """
    change = partial(activate, project.store, project.clock, project.settings, name, actor=project.actor)
    planned = change(word, dry_run=True)
    live = planned.activation
    rows = {row.version: row for row in status.snapshots_of(project.store, name)}
    share = "reaches no tenants" if live.ring is Ring.SHADOW else f"{live.percent} % of tenants"
    facts = [
        ("now", _number(rows, live.previous_version, "")),
        ("then", _number(rows, live.version, "proven ✓")),
        ("where", f"{live.ring}, {share}"),
        ("gates", "  ".join(f"✓ {gate.gate}" for gate in planned.gates)),
    ]
    if planned.lifted_pin is not None:
        facts.append(("lifts", f"the pin on v{planned.lifted_pin.version}: {plain(planned.lifted_pin.reason)}"))

    def act(reason: str) -> str:
        done = change(str(live.version), ring=live.ring, reason=reason).activation
        return f"v{done.version} of {name} is live in {done.ring}, epoch {done.epoch}.  Undo: b"

    return Plan(
        title=f"Activate v{live.version} of {name}",
        verb="Activate",
        facts=tuple(facts),
        words=("activate", name, str(live.version), "--to-stage", live.ring.value),
        act=act,
        settled=f"v{live.version} of {name} is live in {live.ring} already" if planned.is_done else "",
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
        ("from", _number(rows, planned.from_version, "")),
        ("drift", f"P95 {score(drift['p95'])}, limit {drift['limit']:g}, {drift['n']:,} samples"),
        ("to", _number(rows, planned.to_version, "proven ✓")),
        ("because", planned.because),
        ("where", f"{rings}, which is pinned then"),
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
        facts=(("snapshot", _about(shot, "")), ("then", then)),
        words=("snapshot", word, name, str(shot.version)),
        act=act,
    )


def verify(project: Project, shots: Sequence[Snapshot]) -> dict[int, str]:
    """Read snapshots back; return by version what is wrong, or nothing ("")."""
    found = keeping.verify(project.store, shots)
    return {each.snapshot.version: each.error.message if each.error else "" for each in found}


def _number(rows: dict[int, Snapshot], version: int | None, more: str) -> str:
    if version is None:
        return "nothing is live there"
    return _about(rows[version], more) if version in rows else f"v{version} (deleted)"


def _about(shot: Snapshot, more: str) -> str:
    parts = [f"v{shot.version}", f"{shot.windows:,} windows", f"loss {loss_of(shot.metrics)}"]
    return " · ".join([*parts, more or size(shot.size_bytes)])

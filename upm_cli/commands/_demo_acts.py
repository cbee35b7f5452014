"""The story of `upm demo`, act by act: which commands are run, and what is said about their answers."""

import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from upm_cli.commands._output import write
from upm_cli.ops import demo_facts
from upm_cli.ops.demo import PARTS, TRAINER, learning_curve
from upm_cli.ops.demo_agents import FOLDER, TENANT_OF

if TYPE_CHECKING:
    from upm_cli.ops.demo import Answer
    from upm_cli.ops.demo_agents import DemoAgents
    from upm_cli.store.session import Store

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 110
MONDAY, FIVE_MINUTES, THE_HOUR = (f"mail/{name}" for name in PARTS)
FOLLOWER: Final = "desk-1"  # the agent of the tenant that somebody in a hurry exposes
TENANT: Final = TENANT_OF[FOLLOWER]
EVERYONE: Final = ("activate", TRAINER, "--to-stage", "global")
CANARY: Final = ("activate", TRAINER, "--to-stage", "canary", "--percent", "25", "--tenant", TENANT)
IN_A_HURRY: Final = (*CANARY, "--override", "--expires", "1h")
HASTE: Final = "it was fine yesterday"


@dataclass(slots=True)
class Story:
    """What has been told so far; tells it as it happens when it `speaks`."""

    speaks: bool
    acts: list[dict[str, Any]] = field(default_factory=list)

    def act(self, title: str) -> None:
        self.acts.append({"title": title, "commands": [], "said": []})
        self._write(f"\n{len(self.acts)}  {title}\n")

    def ran(self, answer: "Answer") -> None:
        line = shlex.join(["upm", *answer.words])
        self.acts[-1]["commands"].append({"command": line, "exit_code": answer.code})
        self._write(f"   $ {line}\n")

    def say(self, *lines: str) -> None:
        for text in lines:
            self.acts[-1]["said"].append(text)
            self._write(textwrap.fill(text, WIDTH, initial_indent=" " * 5, subsequent_indent=" " * 7) + "\n")

    def _write(self, text: str) -> None:
        if self.speaks:
            write(text)
            sys.stdout.flush()


def tell(story: Story, run: "Callable[..., Answer]", store: "Store", agents: "DemoAgents") -> None:
    """Run the demo's commands with `run`, and tell what comes of it; `store` is the project's state."""

    def upm(*words: str, expect: int = 0) -> dict[str, Any]:
        answer = run(*words, expect=(expect,))
        story.ran(answer)
        return answer.data

    story.act("A project with one trainer, in shadow: it learns, and nobody sees it")
    upm("init")
    _monday(story, upm, store)
    good = _publish(story, upm)
    _hand_over(story, upm, agents, good)
    bad = _midnight(story, upm)
    agents.wait_for(FOLLOWER, bad)
    story.say(f"Its agent {FOLLOWER} serves v{bad} now: an activation is handed over at once")
    _the_hour_is_judged(story, upm, agents, good)
    _on_the_record(story, upm)
    _where_things_stand(story, upm, agents, good)


Upm = Callable[..., dict[str, Any]]


def _monday(story: Story, upm: Upm, store: "Store") -> None:
    story.act("Monday's mail: which messages are urgent? Each is predicted first, then learned")
    done = upm("train", TRAINER, "--source", MONDAY, "--once")
    curve = learning_curve(demo_facts.read_state(store).comparisons)
    first, last = curve.brier[0], curve.brier[-1]
    story.say(
        f"{done['windows']['trained']:,} learned by worker processes; snapshots {_versions(done['snapshots'])}",
        f"error after 50, 100, 200 … messages  {sparkline(curve.brier)}  {first:.3f} → {last:.3f}",
        f"(Brier score; knowing only how often mail is urgent: {curve.base_rate:.3f})",
    )


def _publish(story: Story, upm: Upm) -> int:
    story.act("A good Monday: give it to everyone? The gates are asked first")
    refused = upm(*EVERYONE, expect=5)
    story.say(*_gates(refused, "evidence"))
    story.say("(what it loses more than knowing only how often mail is urgent; valid however often one looks)")
    story.say(*_gates(refused, "policy"))
    story.say("Refused, exit code 5. Those fourteen days and the way to everyone, on a clock that is moved:")
    story.say(*timeline(upm("drill", "rollout")["timeline"]))
    story.say("A demo can't wait so long. An admin may except that gate; it ends by itself and is on the record:")
    good = upm(*EVERYONE, "--override", "--expires", "1h", "--reason", "a demo cannot wait 14 days")
    excepted = ", ".join(good["overridden"])
    story.say(f"v{good['version']} is live for {good['percent']} % of the tenants; excepted: {excepted}")
    return int(good["version"])


def _hand_over(story: Story, upm: Upm, agents: "DemoAgents", good: int) -> None:
    story.act("The model goes to the agents: here two processes that follow a directory; HTTP agents are sent it")
    tenants = [word for tenant in TENANT_OF.values() for word in ("--tenant", tenant)]
    upm("adapter", "add", "desks", "--path", FOLDER, *tenants)
    upm("sync", "run")
    agents.start()
    for name, tenant in TENANT_OF.items():
        agents.wait_for(name, good)
        story.say(f"{name}, the agent of {tenant}, has verified v{good} and serves it")


def _midnight(story: Story, upm: Upm) -> int:
    story.act("Midnight: a change upstream makes the feed say yes for no. At five past the nightly job publishes")
    upm("train", TRAINER, "--source", FIVE_MINUTES, "--once")
    refused = upm(*EVERYONE, "--reason", "nightly job", expect=5)
    story.say(*_gates(refused, "evidence", satisfy=False))
    story.say("Refused, exit code 5: unknown is not good. Somebody in a hurry excepts that gate, for a quarter:")
    upm(*IN_A_HURRY, "--reason", HASTE)
    routed = upm("tenant", "route", TENANT)
    story.say(f"{TENANT} gets v{routed['version']}: {routed['detail']} (by --tenant); of the others a quarter is drawn")
    return int(routed["version"])


def _the_hour_is_judged(story: Story, upm: Upm, agents: "DemoAgents", good: int) -> None:
    story.act("The hour is over, and judged")
    upm("train", TRAINER, "--source", THE_HOUR, "--once")
    report = upm("drift-report", TRAINER, "--fail-on", "breach", expect=6)
    p95 = [window["p95"] or 0.0 for window in report["windows"]]
    worst = max(report["windows"], key=lambda window: window["p95"] or 0.0)
    story.say(f"drift by hour  {sparkline(p95)}  P95 {worst['p95']:.3f}, limit {report['threshold']:g}; exit code 6")
    entry = upm("audit", "list", "--actor", "drift-monitor", "--type", "snapshot.rollback")["entries"][-1]
    story.say(f"{entry['subject']}: {entry['what']}, by {entry['actor']}: nobody typed a command")
    story.say(f"({entry['reason']})")
    served = " → ".join(f"v{version}" for version in agents.wait_for(FOLLOWER, good))
    story.say(f"{FOLLOWER} has served {served}")

    story.act("In a hurry again, with the same words")
    refused = upm(*IN_A_HURRY, "--reason", HASTE, expect=5)
    story.say(*_gates(refused, "quarantine", "lineage"))
    story.say("Refused, exit code 5: time and missing evidence can be excepted, what was found to be bad can't")

    story.act("All of it is on the record")
    told = upm("explain", str(entry["n"]))
    story.say(
        f"{told['action']} {told['subject']}, worked out again from its recorded inputs: {told['recomputed']} outcome"
    )


def _on_the_record(story: Story, upm: Upm) -> None:
    proven = upm("audit", "verify", "--recompute")
    story.say(
        f"{proven['entries']} entries in an unbroken chain; "
        f"{proven['recomputed']} of {proven['decisions']} decisions recompute to the same outcome"
    )
    drilled = upm("drill", "rollback", TRAINER)
    story.say(
        f"a rollback of what serves, rehearsed in a copy: v{drilled['from_version']} → v{drilled['to_version']}, "
        f"{drilled['total_ms']:.0f} ms"
    )


def _where_things_stand(story: Story, upm: Upm, agents: "DemoAgents", good: int) -> None:
    story.act("Where things stand")
    for name in TENANT_OF:
        agents.wait_for(name, good)
    upm("sync", "run")  # nothing is to be sent: it asks the agents what they serve
    stood = upm("sync", "status")
    confirmed = f"{stood['by_status']['synced']} of {stood['total']}"
    story.say(f"{' and '.join(TENANT_OF)} serve v{good}; {confirmed} adapters have confirmed what they should have")
    upm("rollout", "start", TRAINER, "--reason", "the next one goes the ordinary way")
    (now,) = upm("status")["trainers"]
    story.say(f"v{now['active']} is live, {now['windows']['read']:,} messages read, {now['lag']} waiting")
    story.say("what is learned from here on is in shadow, day 0 of 14")


def _gates(refused: Mapping[str, Any], *names: str, satisfy: bool = True) -> Iterator[str]:
    """Yield what each of these gates said to a refusal, and what would satisfy those that refused."""
    for gate in refused["error"]["context"]["gates"]:
        if gate["gate"] in names:
            yield f"{'✓' if gate['allowed'] else '✗'} {gate['gate']}: {gate['detail']}"
            if satisfy and not gate["allowed"] and gate["satisfy"]:
                yield f"  → {gate['satisfy']}"


def timeline(moments: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the days of a rollout, and below each the share of tenants that is reached on it."""
    days = [f"{moment['day']:.0f}" for moment in moments]
    names = [_reached(moment) for moment in moments]
    widths = [max(len(day), len(name)) for day, name in zip(days, names, strict=True)]
    rows = (("day", days), ("tenants", names))
    first, second = (
        f"{head:<9}" + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        for head, cells in rows
    )
    return first.rstrip(), second.rstrip()


def _reached(moment: Mapping[str, Any]) -> str:
    if moment["event"] == "entered":
        return f"{moment['percent']} %"
    return "shadow" if moment["event"] == "begun" else str(moment["event"])


def _versions(versions: Sequence[int]) -> str:
    return f"v{versions[0]}…v{versions[-1]}" if len(versions) > 1 else "".join(f"v{v}" for v in versions) or "none"


def sparkline(values: Sequence[float]) -> str:
    """Return one bar for each value, from zero to the greatest."""
    top = max([*values, 1e-12])
    return "".join(BARS[round(max(0.0, value) / top * (len(BARS) - 1))] for value in values)

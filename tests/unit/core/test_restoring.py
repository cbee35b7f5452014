"""What becomes of actions on record that a restored state does not know."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.past import AGAIN
from upm_cli.core.restoring import TIGHTENING, Fate, barred, settle


def entry(action: str, subject: str = "main", /, **details: Any) -> dict[str, Any]:
    return {"n": 0, "at": "2026-11-29T12:00:00.000Z", "actor": "ada", "action": action, "subject": subject} | {
        "details": details
    }


def numbered(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**each, "n": n} for n, each in enumerate(entries, 1)]


def fates(*entries: dict[str, Any]) -> list[str]:
    return [each.fate.value for each in settle(numbered(*entries))]


ROLLBACK = entry("snapshot.rollback", "main@2", to_version=1, rings=["global"])
RELEASE = entry("snapshot.release", "main@2")
BAR = entry("drift.quarantine", snapshot_ids=["main@2", "main@3"])


@pytest.mark.parametrize("action", TIGHTENING)
def test_what_takes_something_back_is_done_again(action: str) -> None:
    subject = "main@2" if action in ("snapshot.rollback", "rollout.withdraw") else "main"
    assert fates(entry(action, subject)) == [Fate.AGAIN]


def test_what_widens_something_is_left_to_a_person_and_the_rest_to_workers() -> None:
    assert fates(
        entry("snapshot.activate", "main@2", ring="global"),
        entry("trainer.resume"),
        entry("trainer.config"),
        entry("snapshot.refuse", "main@2"),
        entry("something.new"),
    ) == ["run_it_again", "run_it_again", "by_itself", "nothing", "run_it_again"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (ROLLBACK, RELEASE),
        (ROLLBACK, ROLLBACK),
        (entry("rollout.withdraw", "main@2"), entry("snapshot.activate", "main@2", ring="canary")),
        (entry("trainer.pause"), entry("trainer.resume")),
        (entry("freeze.set", "*"), entry("freeze.lift", "*")),
        (entry("tenant.deny", tenant="acme"), entry("tenant.clear", tenant="acme")),
        (entry("signoff.withdraw", item="runbook"), entry("signoff.give", item="runbook")),
        (entry("override.grant", override_id="o1"), entry("override.withdraw", override_id="o1")),
        (entry("snapshot.activate", "main@2", ring="global"), ROLLBACK),
        (
            entry("snapshot.activate", "main@2", ring="global"),
            entry("snapshot.activate", "main@3", ring="global"),
        ),
        (entry("rollout.pause"), entry("rollout.resume")),
        (entry("trainer.pause"), entry("trainer.remove")),
    ],
)
def test_a_later_action_makes_an_end_of_it(first: dict[str, Any], then: dict[str, Any]) -> None:
    settled = settle(numbered(first, then))
    assert (settled[0].fate, settled[0].undone_by) == (Fate.SUPERSEDED, 2)
    assert settle(numbered(then, first))[1].fate is not Fate.SUPERSEDED


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (ROLLBACK, entry("snapshot.release", "other@2")),
        (ROLLBACK, entry("snapshot.release", "main@1")),
        (ROLLBACK, entry("snapshot.activate", "main@2", ring="shadow")),
        (entry("tenant.deny", tenant="acme"), entry("tenant.allow", tenant="other")),
        (
            entry("snapshot.activate", "main@2", ring="global"),
            entry("snapshot.activate", "main@3", ring="canary"),
        ),
        (entry("trainer.add"), entry("trainer.remove")),
        (entry("trainer.pause"), entry("trainer.remove", "other")),
    ],
)
def test_an_action_about_something_else_does_not(first: dict[str, Any], then: dict[str, Any]) -> None:
    assert settle(numbered(first, then))[0].fate is not Fate.SUPERSEDED


def test_a_quarantine_goes_on_for_what_was_not_released() -> None:
    (first, _) = settle(numbered(BAR, RELEASE))
    assert (first.fate, first.bars) == (Fate.AGAIN, (3,))
    (first, *_) = settle(numbered(BAR, RELEASE, entry("snapshot.release", "main@3")))
    assert (first.fate, first.undone_by) == (Fate.SUPERSEDED, 3)


def test_what_a_restore_did_again_counts_as_the_action_itself() -> None:
    again = entry(AGAIN, "main@2", action="snapshot.rollback", entry=1, to_version=1, rings=["global"])
    assert fates(ROLLBACK, again) == ["superseded", "done_again"]
    assert barred(numbered(again)) == {"main": {2}}


STEPS = st.sampled_from(["rollback", "withdraw", "given up", "quarantine", "release"])


@given(st.lists(st.tuples(STEPS, st.integers(1, 3)), max_size=8))
def test_what_is_barred_in_the_end_is_what_was_barred_last_and_not_released(steps: list[tuple[str, int]]) -> None:
    def made(step: str, version: int) -> dict[str, Any]:
        return {
            "rollback": entry("snapshot.rollback", f"main@{version}"),
            "withdraw": entry("rollout.withdraw", f"main@{version}", quarantined=True),
            "given up": entry("rollout.withdraw", f"main@{version}", quarantined=False),
            "quarantine": entry("evidence.quarantine", snapshot_ids=[f"main@{version}"]),
            "release": entry("snapshot.release", f"main@{version}"),
        }[step]

    last = {version: step for step, version in steps if step != "given up"}
    wanted = {version for version, step in last.items() if step != "release"}
    record = numbered(*(made(step, version) for step, version in steps))
    assert barred(record).get("main", set()) == wanted
    done = {v for each in settle(record) if each.fate is Fate.AGAIN for v in each.bars}
    assert done == wanted

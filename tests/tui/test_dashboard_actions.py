"""What the keys do to a real state: asked first, done by the ops of the command line, and on the record."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from upm_cli.core.records import AdapterStatus
from upm_cli.ops import rollout
from upm_cli.store import adapters
from upm_cli.store.session import Store
from upm_cli.testing import prove
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.refused import Refused

VOLATILE = {"decision_id", "incident_id"}


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_s_takes_a_snapshot_after_a_yes(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("s")
        await hand.sees("makes    v5")
        await hand.sees("650 windows, 0 wait")
        await hand.sees("upm snapshot create main --yes")
        assert 5 not in bench.rows()
        await hand.press("y")
        await hand.hears("v5 of main taken: 650 windows")

    bench.drive(steps)
    assert bench.rows()[5].windows == 650
    assert bench.record()[-1][:3] == ("snapshot.create", "main@5", "ada")


def test_s_has_nothing_to_ask_when_nothing_was_learned_since(bench: Any) -> None:
    bench.cli("snapshot", "create", "main")

    async def steps(hand: Any) -> None:
        before = bench.store.token()
        await hand.press("s")
        await hand.hears("nothing learned since v5")
        assert not isinstance(hand.app.screen, Confirm)
        assert bench.store.token() == before

    bench.drive(steps)


def test_a_on_the_overview_activates_the_newest(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("a")
        await hand.sees("Activate v4 of main")
        await hand.sees("global, 100 % of tenants")
        await hand.sees("✓ quarantine")
        await hand.sees("upm activate main 4 --to-stage global --yes")
        assert bench.live() == {}
        await hand.press("y")
        await hand.look()
        await hand.sees("v0004")

    bench.drive(steps)
    assert bench.live() == {"global": 4}


def test_a_among_the_snapshots_activates_the_one_under_the_cursor(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("2", "j", "j", "a", "y")
        await hand.sees("● live global  v0002")

    bench.drive(steps)
    assert bench.live() == {"global": 2}


def test_a_refusal_names_the_gate_and_changes_nothing(bench: Any) -> None:
    for version in ("2", "4"):
        bench.cli("activate", "main", version)
    bench.cli("rollback", "main", "--yes")
    before = bench.store.token()

    async def steps(hand: Any) -> None:
        await hand.press("2", "a")
        await hand.sees("Refused: activate v4 of main", "✗ quarantine", "→ activate another version")
        await hand.sees("The same as: upm activate main 4")
        assert isinstance(hand.app.screen, Refused)
        await hand.press("e")
        assert isinstance(hand.app.screen, Refused)  # what was found to be bad is never excepted
        await hand.press("enter")

    bench.drive(steps)
    assert bench.store.token() == before


def test_b_rolls_back_and_writes_what_the_command_line_writes(bench: Any, tmp_path: Path) -> None:
    for version in ("2", "4"):
        bench.cli("activate", "main", version)
    twin = tmp_path / "twin"
    shutil.copytree(bench.folder, twin)

    async def steps(hand: Any) -> None:
        await hand.press("b")
        await hand.sees("v4 · 600 windows")
        await hand.sees("v2 · 300 windows")
        await hand.sees("proven ✓")
        await hand.sees("upm rollback main --to 2 --ring global --yes")
        await hand.press("y")
        await hand.hears("main: v4 → v2 in global")

    bench.drive(steps)
    assert bench.live() == {"global": 2}
    assert bench.rows()[4].quarantined
    by_key = bench.record()[-1]

    bench.folder, bench.store = twin, Store(twin / ".upm", bench.clock)
    bench.cli("rollback", "main", "--to", "2", "--ring", "global", "--yes")
    by_command = bench.record()[-1]
    assert by_key[:2] == by_command[:2] == ("snapshot.rollback", "main@4")
    assert {k: v for k, v in by_key[3].items() if k not in VOLATILE} == {
        k: v for k, v in by_command[3].items() if k not in VOLATILE
    }


def test_b_twice_is_done_already(bench: Any) -> None:
    for version in ("2", "4"):
        bench.cli("activate", "main", version)

    async def steps(hand: Any) -> None:
        await hand.press("b", "y")
        before = bench.store.token()
        await hand.press("b")
        await hand.hears("main is on v2 already")
        assert bench.store.token() == before

    bench.drive(steps)


def test_b_without_anything_live_says_what_would_help(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("b")
        await hand.hears("nothing live")
        await hand.hears("upm activate main VERSION")

    bench.drive(steps)


def test_p_pauses_and_p_again_resumes_with_the_reason_on_the_record(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("p", "tab")
        assert isinstance(hand.app.focused, Input)
        await hand.press(*"my day", "enter")
        await hand.sees("upm pause main --reason 'my day' --yes")
        await hand.press("y")
        assert bench.trainer().desired == "pause"
        await hand.look()
        await hand.sees("‖ paused")
        await hand.sees("upm resume main")
        await hand.press("p")
        await hand.sees("Resume main")
        await hand.press("y")

    bench.drive(steps)
    assert bench.trainer().desired == "run"
    assert [entry[0] for entry in bench.record()[-2:]] == ["trainer.pause", "trainer.resume"]
    assert bench.record()[-2][3]["reason"] == "my day"


def test_p_works_for_a_trainer_that_never_ran(empty: Any) -> None:
    (empty.folder / "upm.yaml").write_text(
        "supervisor: {default_trainers: [{name: main}]}\npolicy: {actors: {ada: operator}}\n"
    )

    async def steps(hand: Any) -> None:
        await hand.sees("upm train main --source FILE")
        await hand.press("p", "y")

    empty.drive(steps)
    assert empty.trainer().desired == "pause"


def test_i_pins_the_snapshot_under_the_cursor_and_lets_it_go_again(bench: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("2", "j", "i")
        await hand.sees("upm snapshot pin main 3 --yes")
        await hand.press("y")
        assert [row.version for row in bench.rows().values() if row.pinned] == [3]
        await hand.sees("pinned")
        await hand.press("i")
        await hand.sees("upm snapshot unpin main 3 --yes")
        await hand.press("y")

    bench.drive(steps)
    assert not any(row.pinned for row in bench.rows().values())


def test_v_proves_the_bytes_and_names_what_is_damaged(bench: Any) -> None:
    rows = bench.rows()
    damage(bench.folder / ".upm" / rows[3].path)
    before = bench.store.token()

    async def steps(hand: Any) -> None:
        await hand.press("2", "v")
        await hand.sees("✓ whole")
        await hand.press("j", "v")
        await hand.sees("✗ damaged")
        await hand.hears(rows[3].path)
        await hand.press("V")
        assert (hand.text.count("✓ whole"), hand.text.count("✗ damaged")) == (3, 1)

    bench.drive(steps, size=(120, 36))
    assert bench.store.token() == before


def test_every_key_but_y_leaves_everything_as_it_is(bench: Any) -> None:
    before = bench.store.token()

    async def steps(hand: Any) -> None:
        for answer in ("enter", "escape", "n", "q"):
            await hand.press("a")
            assert isinstance(hand.app.screen, Confirm)
            assert hand.app.focused.id == "cancel"
            await hand.press(answer)
            assert not isinstance(hand.app.screen, Confirm)
            assert hand.app.is_running

    bench.drive(steps)
    assert bench.store.token() == before


@pytest.mark.parametrize("screen", ["overview", "snapshots"])
def test_read_only_keys_change_nothing_and_ask_nothing(bench: Any, screen: str) -> None:
    before = bench.store.token()

    async def steps(hand: Any) -> None:
        await hand.sees("READ-ONLY")
        for key in "sabpiPhxnu":
            await hand.press(key)
            assert not isinstance(hand.app.screen, Confirm | Refused)
        await hand.hears("READ-ONLY: the keys that change something do nothing")
        await hand.press("?")
        await hand.sees("do nothing")

    bench.drive(steps, read_only=True, screen=screen)
    assert bench.store.token() == before


def test_an_action_while_the_state_is_locked_names_the_holder(bench: Any) -> None:
    bench.store.close()
    bench.store = Store(bench.folder / ".upm", bench.clock, lock_timeout_s=0.05)
    other = Store(bench.folder / ".upm", bench.clock, command="upm somebody else")

    async def steps(hand: Any) -> None:
        await hand.press("p")
        with other.write():
            await hand.press("y")
        await hand.hears("upm somebody else")

    bench.drive(steps)
    other.close()
    assert bench.trainer().desired == "run"


def test_a_refusal_that_can_be_excepted_asks_for_the_name_and_a_reason(bench: Any) -> None:
    settings = bench.folder / "upm.yaml"
    settings.write_text(settings.read_text().replace("min_shadow_hours: 0", "min_shadow_hours: 336"))

    async def steps(hand: Any) -> None:
        await hand.press("a")
        await hand.sees("Refused: activate latest of main", "✗ policy", "of 336 h", "e excepts them")
        await hand.press("e")
        await hand.sees("Activate v4 of main past gates", "excepted", "policy", "--override")
        before = bench.store.token()
        await hand.type("labels fixed")
        await hand.press("enter", "enter", "y")  # to the name, to Cancel; y without the name
        await hand.sees("Type main first")
        assert bench.store.token() == before
        hand.app.screen.query_one("#name", Input).focus()
        await hand.type("main")
        await hand.press("enter", "y")
        await hand.hears("v4 of main is live in global")

    bench.drive(steps)
    assert bench.live() == {"global": 4}
    granted = [entry for entry in bench.record() if entry[0] == "override.grant"]
    assert [entry[3]["gate"] for entry in granted] == ["policy"]
    assert granted[0][3]["reason"] == "labels fixed"


def test_u_releases_from_quarantine_only_with_a_reason_and_the_name(bench: Any) -> None:
    for version in ("2", "4"):
        bench.cli("activate", "main", version)
    bench.cli("rollback", "main", "--yes")

    async def steps(hand: Any) -> None:
        await hand.press("u")
        await hand.hears("put the cursor on a snapshot first")
        await hand.press("2", "u")
        await hand.sees("Release v4 of main", "quarantined", "type main to go past the gate")
        await hand.press("enter", "enter", "y")
        await hand.sees("Give a reason first")
        assert bench.rows()[4].quarantined
        hand.app.screen.query_one("#reason", Input).value = "the labels were wrong"
        hand.app.screen.query_one("#name", Input).value = "main"
        hand.app.screen.query_one("#cancel").focus()
        await hand.press("y")
        await hand.hears("v4 of main is not quarantined any more")
        await hand.press("2", "u")
        await hand.hears("v4 of main is not quarantined")

    bench.drive(steps)
    assert not bench.rows()[4].quarantined
    assert bench.record()[-1][0] == "snapshot.release"
    assert bench.record()[-1][3]["reason"] == "the labels were wrong"


def test_a_rollout_is_begun_held_let_go_on_promoted_and_aborted_with_keys(bench: Any) -> None:
    bench.cli("activate", "main", "2")

    async def steps(hand: Any) -> None:
        await hand.press("4")
        await hand.sees("main has no rollout", "upm rollout start main", "the way would be", "○ 100%")
        await hand.press("n")
        await hand.sees("Begin a rollout of main", "shadow, where nobody sees it", "upm rollout start main --yes")
        await hand.press("y")
        await hand.hears("a rollout of main has begun in shadow")
        await hand.look()
        await hand.sees("▶ progressing", "▶ shadow")
        await hand.press("h")
        await hand.sees("Hold the rollout of main", "0 % → 0 %", "upm rollout pause main")
        await hand.press("y")
        await hand.look()
        await hand.sees("‖ paused", "h lets it go on")
        await hand.press("h")
        await hand.sees("Go on with the rollout of main", "upm rollout resume main")
        await hand.press("y")
        await hand.press("P")
        await hand.sees("Refused: promote the rollout of main", "✗ evidence")
        await hand.press("escape", "x")
        await hand.sees("Abort the rollout of main", "v2 for everybody", "upm rollout abort main --yes")
        await hand.press("y")
        await hand.look()
        await hand.sees("✗ aborted", "n begins anew")
        await hand.press("n")
        await hand.sees("upm rollout retry main --yes")
        await hand.press("escape")

    bench.drive(steps)
    verbs = [entry[0] for entry in bench.record() if entry[0].startswith("rollout.")]
    assert verbs == ["rollout.start", "rollout.pause", "rollout.resume", "rollout.abort"]


def test_p_promotes_a_step_that_the_gates_allow_and_records_what_the_command_does(bench: Any) -> None:
    bench.cli("activate", "main", "2")
    settings = bench.project().settings
    rollout.start(bench.store, bench.clock, settings, "main", actor="ada")
    prove(bench.store, bench.clock, "main", tenants=("acme", "globex"))

    async def steps(hand: Any) -> None:
        await hand.press("4", "P")
        await hand.sees("Promote the rollout of main", "0 % → 1 %", "v4 for 1 % of tenants, v2 for the rest")
        await hand.press("y")
        await hand.hears("rollout of main promoted: v4 in canary at 1 %")
        await hand.look()
        await hand.sees("▶ 1%", "canary 1 %", "candidate  v0004")
        await hand.press("tab")
        await hand.sees("Tenants 2")
        await hand.press("enter")
        await hand.sees("Tenant acme", "upm tenant route acme main")

    bench.drive(steps)
    assert bench.live() == {"global": 2, "canary": 4}
    assert [entry[:3] for entry in bench.record() if entry[0] == "rollout.promote"] == [
        ("rollout.promote", "main", "ada")
    ]


def follow(bench: Any, *tenants: str) -> None:
    """Let a directory follow main for `tenants`."""
    named = [word for tenant in tenants for word in ("--tenant", tenant)]
    bench.cli("adapter", "add", "edge", "--kind", "directory", "--path", str(bench.folder / "models"), *named)


def test_agents_that_would_get_it_are_told(bench: Any) -> None:
    follow(bench, "acme", "bank")

    async def steps(hand: Any) -> None:
        await hand.press("a")
        await hand.sees("2 agents get it next")

    bench.drive(steps)


def test_r_lets_deliveries_that_were_given_up_begin_anew(bench: Any) -> None:
    bench.cli("activate", "main", "3", "--yes")
    follow(bench, "acme")
    bench.cli("sync", "run")
    with bench.store.write() as tx:
        (row,) = adapters.list_all(tx)
        given_up = replace(row, status=AdapterStatus.ERRORED, attempts=8, failures=8, last_error="it was full")
        adapters.put_many(tx, [given_up])

    async def steps(hand: Any) -> None:
        await hand.press("r")
        await hand.hears("put the cursor on an agent first")
        await hand.sees("✗ 1 errored", "! main: adapter edge errored: it was full")
        await hand.press("5")
        await hand.sees("✗ errored", "edge", "it was full")
        await hand.press("r")
        await hand.sees("Deliver to edge again", "acme: v3 → v3 after 8 attempts: it was full")
        await hand.sees("upm sync retry edge --yes")
        assert "adapter.retry" not in {entry[0] for entry in bench.record()}
        await hand.press("y")
        await hand.hears("edge: 1 pointer due now")
        await hand.sees("○ pending")
        await hand.press("r")
        await hand.hears("nothing of edge was given up or waits")

    bench.drive(steps, size=(120, 36))
    assert bench.record()[-1][:3] == ("adapter.retry", "edge", "ada")
    with bench.store.read() as reader:
        (row,) = adapters.list_all(reader)
    assert (row.status, row.attempts) == (AdapterStatus.PENDING, 0)

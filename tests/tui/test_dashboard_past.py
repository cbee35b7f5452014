"""Going back in time: what the screens show is what was so then, and nothing can be changed there."""

from typing import Any

import pytest

from upm_cli.ids import iso
from upm_cli.ops import then
from upm_cli.store import kept
from upm_cli.tui.screens.confirm import Confirm


@pytest.fixture
def story(bench: Any) -> Any:
    """A trainer with a past: v2 live, an hour later v4, an hour later rolled back, an hour later paused."""
    for words in (
        ("activate", "main", "2", "--reason", "the first"),
        ("activate", "main", "4", "--reason", "the second"),
        ("rollback", "main", "--yes", "--reason", "it was worse"),
        ("pause", "main", "--reason", "looking into it"),
    ):
        bench.clock.sleep(3600)
        bench.cli(*words)
    bench.clock.sleep(3600)
    return bench


def test_each_step_back_shows_what_was_live_then(story: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("‖ paused", "v0002 global")
        await hand.press("[")
        await hand.sees("AS OF", "1h00m ago", "‖ paused")
        await hand.press("[")
        await hand.sees("2h00m ago", "v0002 global")
        assert "paused" not in hand.text.splitlines()[3]
        await hand.press("[")
        await hand.sees("3h00m ago", "v0004 global")
        await hand.press("[")
        await hand.sees("4h00m ago", "v0002 global")
        await hand.press("]")
        await hand.sees("3h00m ago", "v0004 global")
        await hand.press("\\")
        await hand.sees("‖ paused", "↻1s")
        assert "AS OF" not in hand.text

    story.drive(steps)


def test_every_screen_of_the_past_is_of_that_time(story: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("[", "[", "[", "2")  # v4 is live, not yet rolled back
        await hand.sees("● live global  v0004", "○ archived     v0002")
        assert "quarantined" not in hand.text
        await hand.press("6")
        await hand.sees("snapshot.activate", "the second")
        assert "it was worse" not in hand.text
        await hand.press("5")
        await hand.sees("What agents had then is not recorded")
        await hand.press("7")
        await hand.sees("What ran then is not recorded")
        await hand.press("3")
        await hand.sees("Drift P95  main")
        await hand.press("4")
        await hand.sees("main has no rollout")
        await hand.press("]", "2")  # now it is
        await hand.sees("◆ quarantined  v0004", "● live global  v0002")

    story.drive(steps, size=(120, 36))


def test_nothing_can_be_changed_in_the_past(story: Any) -> None:
    before = story.store.token()

    async def steps(hand: Any) -> None:
        await hand.press("[")
        for key in "sabpPhxnui":
            await hand.press(key)
            assert not isinstance(hand.app.screen, Confirm)
        await hand.hears("this is the past, which can't be changed")
        await hand.press("space")
        await hand.hears("the past stands still already")
        await hand.press("?")
        await hand.sees("this is the past")
        await hand.press("escape", "y")
        assert hand.app.clipboard.startswith("upm at 2026-01-02T")
        assert hand.app.clipboard.endswith("Z main")

    story.drive(steps)
    assert story.store.token() == before


def test_the_ends_of_time_are_told(story: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.press("]")
        await hand.hears("this is now")
        for _ in range(9):
            await hand.press("[")
        await hand.hears("nothing was recorded before that")
        await hand.press("escape")
        assert "AS OF" not in hand.text

    story.drive(steps)


def test_it_can_begin_in_the_past(story: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("AS OF", "3h30m ago", "v0002 global")
        await hand.press("]")
        await hand.sees("3h00m ago", "v0004 global")

    story.drive(steps, at_ms=story.clock.ms - 12_600_000)


def test_before_the_trainer_there_is_nothing(story: Any) -> None:
    async def steps(hand: Any) -> None:
        await hand.sees("AS OF", "No trainers yet")
        for key in "1234567":
            await hand.press(key)

    story.drive(steps, at_ms=story.clock.ms - 30 * 86_400_000)


def test_a_kept_state_and_the_record_tell_the_same_of_an_instant(story: Any) -> None:
    settings = story.project().settings
    moments = then.moments(story.store)
    checked = 0
    for moment in moments:
        exact = then.look_back(story.store, settings, moment.at_ms)
        if exact.generation is None:
            continue
        told = _from_record(story, settings, moment.at_ms)
        for one, other in zip(exact.details, told.details, strict=True):
            for key in ("name", "state", "active", "percent", "last_version", "quarantined", "desired", "pause_reason"):
                assert one[key] == other[key], (moment.text, key)
            assert one["drift"]["p95"] == other["drift"]["p95"]
        same = [(s.version, s.status, s.quarantined, s.pinned) for s in exact.snapshots("main")]
        assert same == [(s.version, s.status, s.quarantined, s.pinned) for s in told.snapshots("main")]
        assert [w.window_id for w in exact.windows("main")] == [w.window_id for w in told.windows("main")]
        exact.close()
        checked += 1
    assert checked >= 4


def _from_record(story: Any, settings: Any, at_ms: int) -> then.Then:
    """Look back without any kept state."""
    choose = then.choose
    try:
        then.choose = lambda *given: None
        return then.look_back(story.store, settings, at_ms)
    finally:
        then.choose = choose


def test_kept_states_are_listed_oldest_first_and_can_not_be_written(story: Any) -> None:
    found = kept.generations(story.store.home)
    assert [each.number for each in found] == sorted(each.number for each in found)
    assert found[-1].entries == len(story.record())
    (story.folder / ".upm/history/000000000001.duckdb").write_bytes(b"not a state")
    assert [each.number for each in kept.generations(story.store.home)][-1] == found[-1].number
    state = kept.KeptState(story.store.home, found[0].path, story.clock)
    with state.read() as reader:
        assert reader.meta.generation == found[0].number
    with pytest.raises(Exception, match="is a kept state"):
        state.write()
    state.close()


def test_moments_are_those_of_the_ledger_and_entries_of_one_commit_are_one(story: Any) -> None:
    moments = then.moments(story.store)
    assert [each.at_ms for each in moments] == sorted({each.at_ms for each in moments})
    assert moments[-1].text == "trainer.pause main"
    assert iso(moments[-1].at_ms) == iso(story.clock.ms - 3_600_000)
    assert then.moments(story.store, 1)[0] == moments[-1]

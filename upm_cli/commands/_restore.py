"""`upm doctor --restore`: says what going back to a kept state means, asks, and goes back."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from upm_cli.commands._context import Context
from upm_cli.commands._output import emit
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.restore import GoingBack, NewerAction


def restore(ctx: Context) -> int:
    """Go back to the newest kept state when the live one does not open; with --dry-run only say what that would do."""
    from upm_cli.ops import restore as ops

    dry = ctx.change.dry_run
    if dry or not ctx.change.yes:
        planned = ops.plan(ctx.home, ctx.clock, actor=ctx.actor)
        if dry or planned is None:
            return _answer(ctx, planned, is_done=False)
        if ctx.may_ask:
            ctx.say.note("\n".join(_lines(planned, is_done=False)))
        ctx.confirm(f"this puts {planned.source} in the place of the state, which does not open")
    done = ops.go_back(
        ctx.home, ctx.clock, actor=ctx.actor, reason=ctx.change.reason, lock_timeout_s=ctx.lock_timeout_s
    )
    return _answer(ctx, done, is_done=True)


def _answer(ctx: Context, going: "GoingBack | None", *, is_done: bool) -> int:
    dry = ctx.change.dry_run
    if going is None:
        nothing = {"restored": False, "dry_run": dry, "why": "the state is good", "from": None}
        emit(ctx, nothing, text=f"the state opens: nothing {'would be' if dry else 'was'} changed")
        return ExitCode.DONE
    told = {key: value for key, value in asdict(going).items() if key != "source"}
    payload: dict[str, Any] = {"restored": is_done, "dry_run": dry, "from": going.source, **told}
    emit(ctx, payload, text="\n".join(_lines(going, is_done=is_done)))
    return ExitCode.DONE


def _lines(going: "GoingBack", *, is_done: bool) -> Iterator[str]:
    from upm_cli.ops.rollout_words import duration

    yield f"why: {going.why}"
    verb = "went back" if is_done else "would go back"
    age = duration(round(going.age_s * 1000))
    yield f"{verb} to {going.source}: generation {going.from_generation}, of {_at(going.written_at)}, {age} old"
    aside = "is kept as" if is_done else "would be kept as"
    if going.kept_damaged_as is not None:
        yield f"the damaged state {aside} {going.kept_damaged_as}"
    else:
        yield "there is no damaged file to keep"
    if going.kept_ledger_as is not None:
        yield f"the ledger does not end whole: all of it {aside} {going.kept_ledger_as}, its good part goes on"
    yield ""
    yield from _actions(going, is_done=is_done)
    for log in going.logs:
        yield f"log {log.stream}: rows {log.first_seq:,} to {log.last_seq:,} are not in that state"
    for shot in going.snapshots:
        made = f"made {_at(shot.made_at)} of {shot.windows:,} windows"
        yield f"snapshot {shot.trainer}@{shot.version} ({made}) is not in that state"
    yield ""
    yield "afterwards:"
    yield from (f"  {each}" for each in going.afterwards)


def _actions(going: "GoingBack", *, is_done: bool) -> Iterator[str]:
    if not going.ledger_fits:
        yield "the ledger is not the one of that state: compare the two by hand, upm audit list"
        return
    if not going.actions:
        yield "every action on record is in that state"
    told = "has done again what took something back" if is_done else "does again what took something back"
    for fate, title in (
        ("done_again", f"not in that state; the restore {told}:"),
        ("run_it_again", "not in that state: run it again, if it is still wanted:"),
        ("by_itself", "not in that state; workers decide it again by themselves:"),
        ("superseded", "not in that state, and a later action made an end of it:"),
        ("nothing", "not in that state, and nothing was changed by it:"),
    ):
        if found := [each for each in going.actions if each.fate == fate]:
            yield title
            for each in found:
                yield from _action(each)


def _action(action: "NewerAction") -> Iterator[str]:
    what = f": {action.what}" if action.what else ""
    yield f"  #{action.n} {action.action} {action.subject} at {_at(action.at)} by {action.actor}{what}"
    if action.done:
        yield f"      {action.done}"
    if action.run:
        yield f"      {action.run}"


def _at(instant: str) -> str:
    return f"{instant[:19].replace('T', ' ')}Z"

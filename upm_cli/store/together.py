"""Units of work that may share a commit.

A commit costs about the same whether it changes one row or fifty: the state is copied, synced and swapped. So what
commits often is written as *steps*: a generator that yields a `Unit` where it wants one committed and gets back what
came of it, or the error. `alone` runs such steps with a commit for each unit; a process that does many jobs gathers the
units of several and gives them to `commit`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from upm_cli.store.unit import Tx

if TYPE_CHECKING:
    from upm_cli.store.session import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is to be done in a transaction, by `actor`, for the ledger.

    `work` changes nothing but the state: it may be done again, when something else in its commit fails.
    """

    actor: str
    work: Callable[[Tx], Any]


Steps: TypeAlias = Generator[Unit, Any, T]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `work` returned, or why nothing of it is in the state."""

    value: Any = None
    error: Exception | None = None


class _SpoiledError(Exception):
    """A unit failed half way, so that this transaction can't be committed."""


def alone(store: "Store", steps: Steps[T]) -> T:
    """Run `steps` to their end, each unit in a commit of its own; return what they return."""
    try:
        unit = answer(steps, Outcome())
        while True:
            (outcome,) = commit(store, [unit])
            unit = answer(steps, outcome)
    except StopIteration as end:
        done: T = end.value
        return done


def answer(steps: Steps[Any], outcome: Outcome) -> Unit:
    """Tell `steps` what came of their unit, or `Outcome()` to begin; return the next. StopIteration is their end."""
    return steps.send(outcome.value) if outcome.error is None else steps.throw(outcome.error)


def commit(store: "Store", units: Sequence[Unit]) -> list[Outcome]:
    """Do all `units` in one commit, each whole or not at all; return what came of each.

    One that fails before it has changed anything is left out. If one fails later, or the state refuses the rest,
    each is done in a commit of its own. What keeps a commit from being made at all fails every unit.
    """
    try:
        with store.write() as tx:
            outcomes = [_attempt(tx, unit) for unit in units]
    except _SpoiledError as spoiled:
        if len(units) > 1:
            return [outcome for unit in units for outcome in commit(store, [unit])]
        assert isinstance(spoiled.__cause__, Exception)
        return [Outcome(error=spoiled.__cause__)]
    except Exception as exc:
        return [Outcome(error=exc)] * len(units)
    return outcomes


def _attempt(tx: Tx, unit: Unit) -> Outcome:
    with tx.acting_as(unit.actor) as part:
        try:
            return Outcome(unit.work(tx))
        except Exception as exc:
            if part.changed or not part.is_sound:
                raise _SpoiledError from exc
            return Outcome(error=exc)

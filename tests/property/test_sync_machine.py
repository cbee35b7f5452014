"""Any order of plans, lost messages, lost answers, crashes, looks, restores and people keeps the rules of a delivery.

The other side is an agent with the ratchet of `core.delivery.ratchet`; the row is what the state remembers of it.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from upm_cli.core.delivery.desired import Model, Target, Terms, plan
from upm_cli.core.delivery.failures import Failure
from upm_cli.core.delivery.machine import (
    Failed,
    Found,
    RetryPolicy,
    acked,
    failed,
    is_due,
    looked,
    place,
    retried,
    started,
    succeeded,
)
from upm_cli.core.delivery.memo import Memo, remember
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.delivery.ratchet import REFUSED, Seen, Took, decide
from upm_cli.core.records import Adapter, AdapterStatus, Mode, Ring

FILE = ModelFile(codec="zstd", size_bytes=10, raw_bytes=20, file_digest="f" * 64)
NEW = Adapter(adapter_key="edge", tenant_id="", trainer="main", kind="http", location="https://a", mode=Mode.SHADOW)
POLICY = RetryPolicy(max_retries=2)
VALIDITY_MS = 1000


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 10**12
        self.row, self.kept = NEW, NEW
        self.epoch, self.version, self.barred = 1, 1, ""
        self.pointers: dict[str, Pointer] = {}
        self.sent_barred = False
        self.late: list[Pointer] = []
        self.agent: Seen | None = None
        self.serving: int | None = None
        self.let_down = False
        self.steps_down = 0
        self.plan()

    def plan(self) -> None:
        """As the syncer does: level-triggered, before anything is sent."""
        model = Model(version=self.version, digest=f"{self.version:064x}", file=FILE)
        wanted = Target(epoch=self.epoch, model=model, ring=Ring.GLOBAL, barred=self.barred)
        terms = Terms(now_ms=self.now, validity_ms=VALIDITY_MS)
        found = plan(self.row, wanted, terms)
        if found.pointer is not None:
            assert not self.barred
            assert found.pointer.place > place(self.row)
            name = f"pointer {len(self.pointers)}"
            self.pointers[name] = found.pointer
            found = replace(found, row=replace(found.row, pointer=name))
        again = plan(found.row, wanted, terms)
        assert again.pointer is None
        assert again.row == found.row
        self.row = found.row

    def take(self, pointer: Pointer) -> Took:
        took = decide(pointer, self.agent, None, self.now)
        if took not in REFUSED and took is not Took.SAME:
            self.steps_down += took is Took.LOWERED
            self.agent = Seen(place=pointer.place, digest=pointer.digest, issued_at_ms=pointer.issued_at_ms)
            self.serving = pointer.version
        return took

    def found(self) -> Found | None:
        if self.agent is None or self.serving is None:
            return None
        return Found(place=self.agent.place, version=self.serving, digest=self.agent.digest)

    def fail(self, sent: Place, failure: Failure) -> None:
        what = Failed(at_ms=self.now, failure=failure, message="failed", draw=0.0)
        self.row = failed(self.row, sent, POLICY, what)

    def deliver(self, how: str) -> None:
        self.plan()
        if not is_due(self.row, self.now):
            return
        assert self.row.pointer is not None
        pointer = self.pointers[self.row.pointer]
        assert not self.barred or pointer.version != self.version or self.agent is not None
        self.row, sent = started(self.row), pointer.place
        if how == "lost":
            self.fail(sent, Failure.UNREACHABLE)
            return
        if how == "late":
            self.late.append(pointer)
            self.fail(sent, Failure.TIMEOUT)
            return
        took = self.take(pointer)
        if how == "crash":
            return  # nobody learns what came of it
        if took in REFUSED:
            self.fail(sent, Failure.REFUSED)
            found = self.found()
            assert found is not None
            if found.place > sent or (found.place == sent and found.digest != pointer.digest):
                self.row = remember(self.row, seen=found.place)
        elif how == "answer lost":
            self.fail(sent, Failure.TIMEOUT)
        else:
            once = succeeded(self.row, sent, self.now)
            assert succeeded(once, sent, self.now).acked_serial == once.acked_serial
            self.row = once

    @rule(how=st.sampled_from(["well", "well", "lost", "late", "answer lost", "crash"]))
    def try_it(self, how: str) -> None:
        self.deliver(how)

    @rule(version=st.integers(1, 4), rises=st.booleans())
    def decide_anew(self, version: int, rises: bool) -> None:
        self.version, self.barred = version, ""
        self.epoch += rises

    @rule()
    def quarantine(self) -> None:
        self.barred = f"v{self.version} is quarantined"

    @rule(ms=st.sampled_from([1, 300, 600, 2000]))
    def pass_time(self, ms: int) -> None:
        self.now += ms

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self) -> None:
        self.take(self.late.pop(0))

    @rule()
    def look(self) -> None:
        self.row = looked(self.row, self.found(), self.now)

    @rule()
    def lose_everything(self) -> None:
        self.agent = self.serving = None

    @rule()
    def ask_to_retry(self) -> None:
        self.row = retried(self.row, self.now)

    @rule()
    def back_up(self) -> None:
        self.kept, self.kept_epoch = self.row, self.epoch

    @precondition(lambda self: self.kept is not NEW)
    @rule()
    def restore(self) -> None:
        self.row, self.epoch = self.kept, self.kept_epoch

    @rule()
    def lower(self) -> None:
        """A person lets the agent step down, after asking it where it stands."""
        found = self.found()
        if found is not None and found.place.epoch > self.epoch:
            seen = max(found.place, place(self.row))
            self.row = remember(self.row, lowers=found.place, seen=seen)

    @invariant()
    def a_synced_row_has_confirmed_its_newest_pointer(self) -> None:
        if self.row.status is AdapterStatus.SYNCED and self.row.pointer is not None:
            assert acked(self.row) == place(self.row)
            assert self.row.acked_version == self.row.version

    @invariant()
    def it_steps_down_only_where_a_person_let_it(self) -> None:
        assert not self.steps_down or any(each.lowers_from for each in self.pointers.values())

    @invariant()
    def the_state_can_be_written_down(self) -> None:
        assert Memo.of(replace(self.row, metadata=Memo.of(self.row).to_json())) == Memo.of(self.row)

    def teardown(self) -> None:
        """When the faults stop, the agent comes to serve what it should; where it can't, the row says so."""
        self.late.clear()
        self.row = looked(self.row, self.found(), self.now)
        for _ in range(30):
            self.now += 100_000
            self.deliver("well")
            self.row = looked(self.row, self.found(), self.now)
        self.plan()
        if self.barred:
            return
        if self.row.status is AdapterStatus.ERRORED:
            assert self.found() is not None
            assert "was the state restored" in (self.row.last_error or "")
            self.lower()
            self.deliver("well")
        assert (self.serving, self.row.status) == (self.version, AdapterStatus.SYNCED)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)

"""One collection of all metrics, and what is remembered from one to the next."""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from upm_cli import __version__
from upm_cli.clock import Clock
from upm_cli.errors import IntegrityError, UpmError
from upm_cli.ops import adapter_view as fleet
from upm_cli.ops import supervisor
from upm_cli.ops.metrics import adapters, state, supervised, workers
from upm_cli.ops.metrics.history import LedgerCounts, TelemetryCounts
from upm_cli.ops.metrics.state import Look
from upm_cli.ops.status import being_trained, configured
from upm_cli.store import fsio, layout, ledger, metrics, runfiles
from upm_cli.store.session import Store
from upm_cli.telemetry.metrics.cardinality import bound
from upm_cli.telemetry.metrics.exposition import Histogram, Sample
from upm_cli.telemetry.metrics.families import BUCKETS_S

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings

Part = Callable[[], Iterable[Sample]]
_DISKS: Final = {"state": ".", "snapshots": "blobs"}


class Collector:
    """Collects the metrics of one project, again and again. Several threads may ask; they take turns.

    `reload` is asked for the settings each time, so that a changed configuration is seen; while it is not valid the
    last good one counts.
    """

    def __init__(self, store: Store, clock: Clock, reload: "Callable[[], Settings]") -> None:
        self._store, self._clock, self._reload = store, clock, reload
        self._settings = reload()
        self._turn = threading.Lock()
        self._facts: tuple[tuple[int, int], metrics.Facts] | None = None
        self._ledger = LedgerCounts()
        self._telemetry = TelemetryCounts(store.home)
        self._verified: tuple[int, int] | None = None  # whether the ledger was found good, and when
        self._synced: Sequence[str] = ()  # trainers with adapters
        self._durations = Histogram("upm_metrics_collect_duration_seconds", BUCKETS_S)
        self.problems: Mapping[str, UpmError] = {}  # what went wrong last time, by part

    def collect(self) -> list[Sample]:
        """Return all samples of this moment. A part that can't be read is left out, and told as a problem."""
        with self._turn:
            started_s = self._clock.monotonic_s()
            samples, problems = self._parts()
            self.problems = problems
            self._durations.observe(self._clock.monotonic_s() - started_s)
            return bound([*samples, *self._about_itself()])

    def check_ledger(self) -> None:
        """Prove the whole chain of the ledger now; collections tell the result until the next check.

        Takes time in proportion to the ledger, about a second for 10,000 decisions. Raises what `Store.read` does.
        """
        with self._store.read() as reader:
            head = reader.meta.ledger
        try:
            ledger.verify(self._store.home, head)
        except IntegrityError:
            self._verified = 0, self._clock.now_ms()
        else:
            self._verified = 1, self._clock.now_ms()

    def _parts(self) -> tuple[list[Sample], dict[str, UpmError]]:
        found: dict[str, list[Sample]] = {}
        problems: dict[str, UpmError] = {}
        parts: dict[str, Part] = {
            "settings": self._take_settings,
            "state": self._state,
            "adapters": self._adapters,
            "ledger": self._ledger_counts,
            "telemetry": self._telemetry_counts,
            "workers": self._workers,
            "machine": self._machine,
        }
        for name, part in parts.items():
            try:
                found[name] = list(part())
            except UpmError as exc:
                problems[name], found[name] = exc, []
        success = [Sample("upm_metrics_collect_success", int(part not in problems), {"part": part}) for part in parts]
        return [*(sample for samples in found.values() for sample in samples), *success], problems

    def _take_settings(self) -> Iterable[Sample]:
        self._settings = self._reload()
        return ()

    def _read(self) -> metrics.Facts:
        """Return the facts of the state as it is now; read again only when it has changed."""
        token = self._store.token()
        if self._facts is None or self._facts[0] != token:
            self._facts = None
            with self._store.read() as reader:
                self._facts = token, metrics.read(reader)
        return self._facts[1]

    def _names(self) -> list[str]:
        return sorted({trainer.name for trainer in (*configured(self._settings), *self._read().trainers)})

    def _state(self) -> Iterator[Sample]:
        look = Look(
            facts=self._read(),
            settings=self._settings,
            trained=being_trained(self._store, self._names()),
            buffers=workers.live_buffers(self._store.home, runfiles.read_statuses(self._store.home)),
            now_ms=self._clock.now_ms(),
        )
        return state.samples(look)

    def _adapters(self) -> Iterator[Sample]:
        with self._store.read() as reader:
            found = fleet.overview(reader, self._settings, self._clock.now_ms())
        self._synced = adapters.trainers_of(found)
        return adapters.samples(found)

    def _ledger_counts(self) -> Iterator[Sample]:
        self._ledger.follow(self._store.home, self._read().meta.ledger)
        return self._ledger.samples(self._names())

    def _telemetry_counts(self) -> Iterator[Sample]:
        if not self._settings.telemetry.enabled:
            return
        self._telemetry.follow()
        yield from self._telemetry.samples(self._names(), self._synced)

    def _workers(self) -> Iterator[Sample]:
        told = supervised.words(supervisor.report(self._store))
        return workers.samples(self._store.home, runfiles.read_statuses(self._store.home), told)

    def _machine(self) -> Iterator[Sample]:
        home = self._store.home
        yield Sample("upm_build_info", 1, {"version": __version__, "python": platform.python_version()})
        yield Sample("upm_state_size_bytes", fsio.size(home / layout.STATE))
        for disk, folder in _DISKS.items():
            free, size = fsio.disk_space(home / folder)
            yield Sample("upm_disk_free_bytes", free, {"disk": disk})
            yield Sample("upm_disk_size_bytes", size, {"disk": disk})

    def _about_itself(self) -> Iterator[Sample]:
        yield Sample("upm_metrics_collected_timestamp_seconds", self._clock.now_ms() / 1000)
        if self._verified is not None:  # also when the ledger is too broken to be counted
            is_good, at_ms = self._verified
            yield Sample("upm_ledger_verified", is_good)
            yield Sample("upm_ledger_verified_timestamp_seconds", at_ms / 1000)
        yield from self._durations.samples()

"""Many drift windows at once are the same as one by one."""

from dataclasses import replace
from pathlib import Path

from upm_cli.clock import SystemClock
from upm_cli.core.records import DriftStatus, DriftWindow
from upm_cli.store import drift
from upm_cli.store.session import Store


def make_window(number: int, **changes: object) -> DriftWindow:
    window = DriftWindow(
        trainer="main",
        window_id=f"main/{number}",
        version=number if number % 3 else None,
        started_at_ms=number * 3_600_000,
        closed_at_ms=(number + 1) * 3_600_000,
        status=DriftStatus.CLOSED if number % 2 else DriftStatus.OPEN,
        verdict="pass" if number % 2 else "unknown",
        threshold=0.2,
        n=1000 + number,
        mean=0.1 if number % 2 else None,
        p95=0.15 if number % 2 else None,
        max=0.9 if number % 2 else None,
        recommendation="rollback" if number % 5 == 0 else None,
        first_seq=number * 1000,
        last_seq=number * 1000 + 999,
        metadata={"late": number, "text": "it's ☃"},
    )
    return replace(window, **changes)  # type: ignore[arg-type]


def test_windows_put_together_are_those_put_one_by_one(tmp_path: Path) -> None:
    windows = [make_window(number) for number in range(40)]
    again = [replace(windows[7], n=5), replace(windows[9], verdict="fail"), make_window(40)]
    kept = []
    for way in ("each", "all"):
        store = Store.create(tmp_path / way, SystemClock())
        for part in (windows, again, []):
            with store.write() as tx:
                if way == "all":
                    drift.put_all(tx, part)
                else:
                    for window in part:
                        drift.put(tx, window)
        with store.read() as reader:
            kept.append(drift.list_for(reader, "main"))
    assert kept[0] == kept[1]
    assert len(kept[1]) == 41
    assert kept[1][7].n == 5

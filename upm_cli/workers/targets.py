"""What a supervisor should run: the jobs of every trainer there is, by the stream they learn from."""

import os
from collections.abc import Mapping
from pathlib import Path

from upm_cli.config.schema import Settings
from upm_cli.core.placement import JobSpec, Kind
from upm_cli.errors import UsageError
from upm_cli.store.positions import Positions

LEAST_WORKERS = 4


def max_workers(settings: Settings) -> int:
    """Return how many processes may work: as configured, or one for each core this process may use."""
    return settings.supervisor.max_workers or max(LEAST_WORKERS, len(os.sched_getaffinity(0)))


def groups_of(
    settings: Settings, positions: Positions, folder: Path, ours: Mapping[str, object]
) -> dict[str, tuple[JobSpec, ...]]:
    """Return the jobs of each stream with a trainer in `ours`: read it, then train and judge whoever learns from it."""
    sources, told = sources_of(settings, positions, folder), outcomes_of(settings, positions, folder)
    groups: dict[str, list[JobSpec]] = {}
    for name, trainer in positions.trainers.items():
        if name not in ours:
            continue
        group = groups.setdefault(trainer.stream, [])
        if not group and (sources.get(trainer.stream) or trainer.stream in told):
            of, outcomes = told.get(trainer.stream, ("", ()))
            read = sources.get(trainer.stream, ())
            group.append(JobSpec(kind=Kind.INGEST, name=trainer.stream, sources=read, outcomes=outcomes, told=of))
        group += [JobSpec(kind=Kind.TRAINER, name=name), JobSpec(kind=Kind.DRIFT, name=name)]
    return {stream: tuple(jobs) for stream, jobs in groups.items()}


def sources_of(settings: Settings, positions: Positions, folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the files, folders and globs of each stream, as absolute paths."""
    found: dict[str, list[str]] = {}
    for default in settings.supervisor.default_trainers:
        known = positions.trainers.get(default.name)
        stream = default.name if known is None else known.stream
        found.setdefault(stream, []).extend(str(folder / source) for source in default.sources)
    return {stream: tuple(dict.fromkeys(each)) for stream, each in found.items() if each}


def outcomes_of(settings: Settings, positions: Positions, folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return for each stream the trainer that agents tell of, and where that is read, as absolute paths."""
    found = {}
    for default in settings.supervisor.default_trainers:
        known = positions.trainers.get(default.name)
        if default.outcomes:
            stream = default.name if known is None else known.stream
            found[stream] = default.name, tuple(str(folder / source) for source in default.outcomes)
    return found


def refuse_pipes(settings: Settings) -> None:
    """Raise UsageError when a trainer is to read standard input: a supervisor has none to give."""
    for default in settings.supervisor.default_trainers:
        if "-" in (*default.sources, *default.outcomes):
            raise UsageError(
                f"trainer {default.name} has standard input as a source, which upm up can't read",
                hint=f"let something write files into a folder, or pipe into: upm train {default.name} --source -",
                code="UPM-E171",
            )

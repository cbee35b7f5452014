"""The kinds of jobs that a process of a supervisor can have, each imported when there is one."""

from upm_cli.core.placement import JobSpec, Kind
from upm_cli.store.together import Steps
from upm_cli.workers.context import Worker
from upm_cli.workers.job import Job


def opening(worker: Worker, spec: JobSpec) -> Steps[Job]:
    """Begin the job `spec`, whose lease the caller has."""
    if spec.kind is Kind.INGEST:
        from upm_cli.workers.feedback import Told
        from upm_cli.workers.ingest import FollowJob

        told = Told(trainer=spec.told, specs=spec.outcomes) if spec.outcomes else None
        return (yield from FollowJob.opening(worker, spec.name, spec.sources, "auto", told=told, sweeps=False))
    if spec.kind is Kind.TRAINER:
        from upm_cli.workers.trainer import TrainerJob

        return (yield from TrainerJob.opening(worker, spec.name))
    if spec.kind is Kind.DRIFT:
        from upm_cli.workers.drift_monitor import DriftJob

        return DriftJob(worker, spec.name, has_ticker=True)
    if spec.kind is Kind.NOTIFY:
        from upm_cli.workers.notifier import NotifyJob

        return NotifyJob(worker)
    from upm_cli.workers.rollouts import RolloutsJob

    return RolloutsJob(worker)

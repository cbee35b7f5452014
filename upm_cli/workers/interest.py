"""What each kind of job works on, as one plain value: when it is another one, there is work.

A process says for which value its job has last found nothing more to do; a supervisor works out the value as it is
now. While they differ and nothing moves, the job is stuck, however alive its process looks.
"""

from collections.abc import Sequence

from upm_cli.sources.discover import footprint
from upm_cli.store.positions import Positions


def of_ingest(sources: Sequence[str]) -> object:
    """Return the files of the sources, with their sizes."""
    return footprint(sources)


def of_trainer(name: str, positions: Positions) -> object:
    """Return where the log ends, and whether the trainer may learn; None for one that is gone."""
    trainer = positions.trainers.get(name)
    if trainer is None:
        return None
    if trainer.desired == "pause":
        return ["pause", trainer.fence]
    return [positions.log_ends.get(trainer.stream, 0), trainer.fence]


def of_monitor(name: str, positions: Positions) -> object:
    """Return up to where there are comparisons to judge; None for a trainer that is gone."""
    trainer = positions.trainers.get(name)
    if trainer is None:
        return None
    return [trainer.log_position, trainer.served, trainer.fence]

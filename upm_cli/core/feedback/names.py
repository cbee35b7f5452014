"""Under which names feedback is kept beside what is the trainer's own: no trainer or stream has a colon in its name."""


def served_owner(trainer: str) -> str:
    """Return whose the served comparisons of a trainer are, and the drift windows judged from them."""
    return f"{trainer}:served"


def trainer_of(owner: str) -> str:
    """Return the trainer that an owner of comparisons or drift windows belongs to."""
    return owner.partition(":")[0]


def positions_key(trainer: str) -> str:
    """Return the name under which it is kept how far the logs of agents were read for a trainer."""
    return f"{trainer}:outcomes"

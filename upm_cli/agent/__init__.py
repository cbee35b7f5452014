"""What an agent imports: open a model directory or URL, verify, predict, follow what is live, tell what came of it.

    from upm_cli.agent import Agent

    agent = Agent.open("/srv/models", tenant="acme")
    agent.predict({"hour": 9})

docs/howto/agents.md tells the rest.
"""

from upm_cli.agent.agent import Agent
from upm_cli.agent.errors import (
    AgentError,
    AgentUsageError,
    DamagedError,
    FeaturesError,
    ForgetfulError,
    NothingToServeError,
    NotTakenError,
    UnreachableError,
    UntrustedError,
)
from upm_cli.agent.values import Health, Prediction, Problem, Serving

__all__ = [
    "Agent",
    "AgentError",
    "AgentUsageError",
    "DamagedError",
    "FeaturesError",
    "ForgetfulError",
    "Health",
    "NotTakenError",
    "NothingToServeError",
    "Prediction",
    "Problem",
    "Serving",
    "UnreachableError",
    "UntrustedError",
]

"""What `upm validate` checks, and what a check says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upm_cli.clock import Clock
from upm_cli.config.load import load
from upm_cli.config.problems import ConfigError
from upm_cli.config.schema import Settings
from upm_cli.errors import NotFoundError, UpmError
from upm_cli.ops.project import HOME


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check. `status`: pass, warn, fail, or skip (there was nothing to check)."""

    name: str
    status: str
    detail: str
    hint: str = ""
    problems: tuple[Mapping[str, Any], ...] = ()  # of the configuration, one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked. `settings` is None when the configuration is not valid; `config_error` says why."""

    project: Path
    clock: Clock
    settings: Settings | None
    origin_of_flag: str = "default"
    config_error: UpmError | None = None

    @property
    def home(self) -> Path:
        return self.project / HOME


def subject(project: Path, config: Path, clock: Clock, overrides: Sequence[str], environ: Mapping[str, str]) -> Subject:
    """Load what can be loaded of a project, to be checked."""
    try:
        loaded = load(config, overrides=overrides, environ=environ)
    except (ConfigError, NotFoundError) as exc:
        return Subject(project=project, clock=clock, settings=None, config_error=exc)
    where = loaded.origins["features.unified_model"].where
    return Subject(project=project, clock=clock, settings=loaded.settings, origin_of_flag=where)


def guarded(name: str, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """Return what `check` finds; what goes wrong on the way is a failed check."""
    try:
        return check(subject)
    except UpmError as exc:
        return Check(name=name, status="fail", detail=exc.message, hint=exc.hint)
    except OSError as exc:
        return Check(name=name, status="fail", detail=f"{exc.strerror}: {exc.filename}", hint="check its permissions")

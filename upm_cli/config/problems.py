"""What is wrong with a configuration, told all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from upm_cli.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value was written. `line` and `column` count from 1 and are 0 outside files; `width` is in characters."""

    where: str  # upm.yaml, --set, or the name of a variable
    line: int = 0
    column: int = 0
    width: int = 1

    def __str__(self) -> str:
        return f"{self.where}:{self.line}:{self.column}" if self.line else self.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `key` is the dotted path it is about; `fix` is what to do about it."""

    code: str
    message: str
    place: Place
    key: str = ""
    fix: str = ""

    def render(self, lines: Sequence[str] = ()) -> str:
        """Return the problem for people, with the line of the file it is in and a caret, when there is one."""
        head = f"{self.place}  error[{self.code}]  {self.message}" + (f"  {self.fix}" if self.fix else "")
        if not 0 < self.place.line <= len(lines):
            return head
        text = lines[self.place.line - 1].replace("\t", " ")[:200]
        width = max(1, min(self.place.width, len(text) - self.place.column + 1))
        margin = f"{self.place.line:>5} | "
        return f"{head}\n{margin}{text}\n{' ' * (len(margin) + self.place.column - 1)}{'^' * width}"

    def as_object(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "key": self.key,
            "message": self.message,
            "fix": self.fix,
            "where": self.place.where,
            "line": self.place.line or None,
            "column": self.place.column or None,
        }


class ConfigError(InvalidError):
    """The configuration is not valid; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], name: str, lines: Sequence[str] = ()) -> None:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        told = "\n".join(problem.render(lines) for problem in problems)
        super().__init__(
            f"{count} in the configuration ({name})\n{told}",
            hint=f"upm explain {problems[0].code}",
            context={"problems": [problem.as_object() for problem in problems]},
        )
        self.problems = tuple(problems)

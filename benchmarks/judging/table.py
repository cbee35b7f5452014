"""One line of the table per measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADS = ("id", "experiment", "passes if", "measured", "seed rule", "peeked t-test", "result")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured and whether that passes. The two rivals saw the same streams; empty where they say nothing."""

    id: str
    experiment: str
    criterion: str
    measured: str
    passed: bool
    seed: str = ""
    t_test: str = ""

    def cells(self) -> tuple[str, ...]:
        result = "pass" if self.passed else "FAIL"
        return self.id, self.experiment, self.criterion, self.measured, self.seed, self.t_test, result


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table with columns lined up."""
    lines = [HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def each(values: Sequence[float], form: str = "{:.4f}") -> str:
    """Return several numbers as `a / b / c`, with trailing zeros cut."""
    return " / ".join(
        form.format(value).rstrip("0").rstrip(".") if "." in form.format(value) else form.format(value)
        for value in values
    )

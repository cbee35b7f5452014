"""`upm explain`: what a code or a gate in a message means and what to do; what a decision was made from."""

import re
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit, emit_document
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.core.gate_guide import Guide

_DECISION: Final = re.compile(r"#?\d+|[0-9a-f][0-9a-f-]{5,}", re.IGNORECASE)


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


@command
def explain(
    ctx: Context,
    code: Annotated[
        str,
        typer.Argument(
            metavar="[CODE|DECISION]", help="UPM-E040, a gate, a decision's id or its number in the ledger."
        ),
    ] = "",
    gate: Annotated[str, typer.Argument(metavar="[GATE]", help="After the word gate: which one.")] = "",
) -> int:
    """Explain a code from an error message or an alert, a gate, or a decision: what, who, when, why, and the numbers.

    A decision is worked out again from what was recorded; exit 9 if it comes out differently. It is named by its id
    (the beginning is enough when it is unique, 6 characters at least) or by its number in `upm audit list`. Without
    anything, all codes are listed.

    Example: upm explain UPM-E070

    Example: upm explain gate quarantine

    Example: upm explain 12
    """
    from upm_cli.ops import explain as ops

    if gate and code != "gate":
        raise UsageError(f"{gate!r} is one word too many", hint=f"upm explain {code}, or: upm explain gate {gate}")
    if code == "gate":
        _gate(ctx, ops.gate(gate))
        return ExitCode.DONE
    if (guide := ops.find_gate(code)) is not None:
        _gate(ctx, guide)
        return ExitCode.DONE
    if _DECISION.fullmatch(code):
        return _decision(ctx, code)
    if code:
        _code(ctx, code)
    else:
        _codes(ctx)
    return ExitCode.DONE


def _decision(ctx: Context, word: str) -> int:
    from upm_cli.commands import _entries
    from upm_cli.ops import audit
    from upm_cli.ops.entry_lines import gates_of

    entry = audit.find(ctx.store, word)
    again = audit.again(entry)
    payload = {
        **_entries.describe(entry),
        "gates": gates_of(entry["details"]),
        "recomputed": again.status,
        "differences": list(again.differences),
    }
    emit_document(ctx, payload, _entries.explain_text(entry, again.status, again.differences))
    return ExitCode.INTEGRITY if again.status == "differs" else ExitCode.DONE


def _gate(ctx: Context, guide: "Guide") -> None:
    whom = "activation and rollout" if guide.of == "both" else guide.of
    ends = "an admin may override it" if guide.is_overridable else "never overridden"
    parts = [
        f"gate {guide.gate}   (of {whom}; {ends})",
        _paragraph("Asks", guide.asks),
        _paragraph("Opens", guide.opens),
    ]
    plain = {"gate": guide.gate, "of": guide.of, "asks": guide.asks, "opens": guide.opens}
    emit_document(ctx, {**plain, "overridable": guide.is_overridable}, "\n\n".join(parts))


def _codes(ctx: Context) -> None:
    from upm_cli.ops import explain as ops

    rows = [{"code": page.code, "title": page.title, "exit_code": page.exit_code} for page in ops.pages().values()]
    columns = [Column("code"), Column("title"), Column("exit_code", "EXIT")]
    emit(ctx, {"codes": rows}, Table(key="codes", columns=columns))


def _code(ctx: Context, code: str) -> None:
    from upm_cli.ops import explain as ops

    page = ops.explain(code)
    ends = "an alert" if page.exit_code is None else f"exit code {page.exit_code}"
    parts = [f"{page.code}  {page.title}   ({ends})"]
    parts += [_paragraph(word, text) for word, text in (("What", page.what), ("Why", page.why), ("Do", page.do))]
    emit_document(ctx, asdict(page), "\n\n".join(parts))


def _paragraph(word: str, text: str) -> str:
    return textwrap.fill(text, 96, initial_indent=f"{word:<6}", subsequent_indent=" " * 6, break_on_hyphens=False)

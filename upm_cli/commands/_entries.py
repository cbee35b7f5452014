"""Ledger entries for people: all of one, as it is recorded, and a decision with its numbers."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from upm_cli.commands._text import visible
from upm_cli.ops.entry_lines import gate_line, gates_of, is_gate, pairs

_WIDTH = 110


def describe(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as the payload of an answer, with `what` it says in words."""
    from upm_cli.ops.ledger_words import what

    details = entry["details"]
    return {
        **{key: entry[key] for key in ("n", "at", "actor", "action", "subject")},
        "what": what(entry["action"], details),
        "reason": details.get("reason") or None,
        "decision_id": details.get("decision_id"),
        "details": details,
        "prev": entry["prev"],
        "hash": entry["hash"],
    }


def opening(entry: Mapping[str, Any]) -> list[str]:
    """Return who did what, when and why, on a few lines."""
    from upm_cli.ops.ledger_words import what

    details = entry["details"]
    said = what(entry["action"], details)
    lines = [f"ledger #{entry['n']}   {entry['at'][:19].replace('T', ' ')}Z   {entry['action']} {entry['subject']}"]
    if said:
        lines += textwrap.wrap(f"what    {said}", _WIDTH, subsequent_indent=" " * 8)
    lines.append(f"who     {entry['actor']}")
    lines += textwrap.wrap(f"why     {details.get('reason') or 'no reason given'}", _WIDTH, subsequent_indent=" " * 8)
    if "decision_id" in details:
        lines.append(f"id      {details['decision_id']}")
    return [visible(line) for line in lines]


def show_text(entry: Mapping[str, Any]) -> str:
    """Return all of an entry; long parts of a decision are named with their size."""
    from upm_cli.ops.ledger_words import RECORD

    details = entry["details"]
    lines = opening(entry)
    gates = gates_of(details)
    known = (*RECORD, "gates", "saga") if gates else RECORD
    lines += map(visible, pairs({key: value for key, value in details.items() if key not in known}))
    if gates and "saga" in details:
        lines.append(
            f"  {'steps':<22} " + ", ".join(f"{'✓' if s['done'] else '✗'} {s['step']}" for s in details["saga"])
        )
    lines += (visible(gate_line(gate)) for gate in gates)
    lines += map(
        visible, pairs({key: value for key, value in (details.get("numbers") or {}).items() if not is_gate(value)})
    )
    if "inputs" in details:
        size = len(json.dumps(details["inputs"]))
        lines.append(f"inputs  {size:,} characters, sha256 {details['inputs_digest']}   (--json prints them)")
        lines.append(f"config  {_config(details)}")
        lines.append(f"more    upm explain {entry['n']}")
    return "\n".join([*lines, f"prev    {entry['prev'] or 'none: it is the first'}", f"hash    {entry['hash']}"])


def explain_text(entry: Mapping[str, Any], status: str, differences: Sequence[str]) -> str:
    """Return a decision in words: what, who, why, each number with its limit, and whether it comes out the same."""
    details = entry["details"]
    lines = opening(entry)
    gates = gates_of(details)
    if gates:
        lines += ["", *(visible(gate_line(gate)) for gate in gates)]
    numbers = {key: value for key, value in (details.get("numbers") or {}).items() if not is_gate(value)}
    if numbers:
        lines += ["", *map(visible, pairs(numbers))]
    if "inputs" in details:
        lines += ["", f"config  {_config(details)}"]
    lines += ["", *_verdict(status, differences)]
    return "\n".join(lines)


def _config(details: Mapping[str, Any]) -> str:
    digest = details.get("config_digest")
    return f"settings with the digest {digest}" if digest else "the settings were not asked"


def _verdict(status: str, differences: Sequence[str]) -> Iterator[str]:
    if status == "same":
        yield "recomputed from the recorded inputs: same outcome"
    elif status == "asked":
        yield "nothing to recompute: it carries out what somebody asked for, or another decision"
    else:
        yield "recomputed from the recorded inputs: NOT the same outcome"
        yield from (visible(f"  {line}") for line in differences)

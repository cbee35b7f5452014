"""A recorded decision is worked out again by the function behind its kind."""

import hashlib
import importlib
import subprocess
import sys

import pytest

from upm_cli.core.decision import RECOMPUTE, can_recompute, inputs_digest, recompute
from upm_cli.errors import InvalidError


def test_the_digest_is_the_sha256_of_the_canonical_text() -> None:
    text = '{"a":[1,null],"p":0.1,"ü":"…"}'
    assert inputs_digest({"ü": "…", "p": 0.1, "a": (1, None)}) == hashlib.sha256(text.encode()).hexdigest()


def test_every_kind_leads_to_a_function() -> None:
    assert len(RECOMPUTE) > 5
    for module, name in RECOMPUTE.values():
        assert callable(getattr(importlib.import_module(module), name))


def test_a_kind_with_a_dot_at_its_end_stands_for_all_that_begin_with_it() -> None:
    assert can_recompute("rollout.step")
    assert can_recompute("snapshot.rollback")
    assert not can_recompute("rollouts.step")
    assert not can_recompute("snapshot.pin")


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(InvalidError, match=r"'moon\.landing' can't be worked out again") as refused:
        recompute("moon.landing", {})
    assert refused.value.code == "UPM-E039"


@pytest.mark.parametrize("kind", [kind for kind in RECOMPUTE if not kind.endswith(".")] + ["rollout.step"])
@pytest.mark.parametrize("inputs", [{}, {"trainer": 1, "snapshot": 2, "candidate": 3, "window": 4, "policy": 5}])
def test_inputs_of_another_form_are_refused_and_never_a_crash(kind: str, inputs: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as refused:
        recompute(kind, inputs)
    assert refused.value.code == "UPM-E039"


def test_importing_decisions_loads_nothing_heavy() -> None:
    code = (
        "import sys, upm_cli.core.decision, upm_cli.ops.record; print('numpy' in sys.modules, 'duckdb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"

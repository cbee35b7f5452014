"""S11, S12: the same numbers as published code, and the same alarm after any restart."""

import json

import numpy as np

from benchmarks.judging.table import Row, each
from upm_cli.core.detectors import ESR, BettingE, EmpiricalBernstein
from upm_cli.core.evidence import Contest, EvidencePolicy
from upm_cli.core.judging.eb import predictable_lower
from upm_cli.core.window import Strings

GOLDEN = (0.17484606, 0.23634137, 0.26847499)  # the authors' predictable plug-in bound after 50, 100, 200
MIXTURE_GOLDEN = (0.1142, 0.1995, 0.2496)


def s11() -> list[Row]:
    """Lower bounds of the stream frac(i * golden ratio)^2 at alpha .05."""
    x = ((np.arange(1, 201) * 0.6180339887498949) % 1) ** 2
    plug_in = predictable_lower(x, 0.05)[[49, 99, 199]]
    stream, mixture = EmpiricalBernstein(), []
    for at, value in enumerate(x, 1):
        stream.update(value)
        if at in (50, 100, 200):
            mixture.append(stream.lower(0.05))
    gap = float(np.abs(plug_in - GOLDEN).max())
    passed = gap <= 1e-8 and bool(np.abs(np.array(mixture) - MIXTURE_GOLDEN).max() <= 5e-5)
    return [
        Row(
            id="S11",
            experiment="lower bounds after 50 / 100 / 200 against the authors' code",
            criterion="within 1e-8",
            measured=f"{each(plug_in, '{:.8f}')} (off by {gap:.0e}); mixture {each(mixture)}",
            passed=passed,
        )
    ]


def s12() -> list[Row]:
    """Save, write as JSON, read and restore at every index: same index of the alarm, same state."""
    rng = np.random.default_rng(12)
    y = np.concatenate([rng.random(150) < 0.05, rng.random(100) < 0.4]).astype(float)
    whole = ESR(0.05, 1000.0)
    whole.update(y)
    same = whole.alarm_at is not None
    bet = BettingE(0.2)
    bet.update(y)
    for cut in range(y.size + 1):
        head = ESR(0.05, 1000.0)
        head.update(y[:cut])
        tail = ESR.restore(0.05, 1000.0, json.loads(json.dumps(head.state())))
        tail.update(y[cut:])
        first = BettingE(0.2)
        first.update(y[:cut])
        second = BettingE.restore(0.2, json.loads(json.dumps(first.state())))
        second.update(y[cut:])
        same &= tail.alarm_at == whole.alarm_at and tail.state() == whole.state() and second.state() == bet.state()
    contests = contest_cuts(rng)
    return [
        Row(
            id="S12",
            experiment=f"restored at each of {y.size + 1} indices; a contest at each of {contests[1]}",
            criterion="same alarm, same bytes",
            measured=f"alarm at {whole.alarm_at} each time" if same and contests[0] else "differs",
            passed=same and contests[0],
        )
    ]


def contest_cuts(rng: np.random.Generator) -> tuple[bool, int]:
    """Return whether a contest cut and reloaded anywhere ends in the same bytes, and at how many places it was cut."""
    n = 400
    champion = rng.random(n)
    challenger = np.clip(champion + 0.1 + 0.1 * rng.standard_normal(n), 0, 1)
    tenant = Strings.of([f"t{k}" for k in rng.integers(0, 5, n)])
    seq = np.arange(n)

    def state(contest: Contest) -> object:
        arrays, meta = contest.dump()
        return json.dumps(meta), {name: array.tobytes() for name, array in arrays.items()}

    whole = Contest(EvidencePolicy())
    whole.advance(seq, tenant, challenger, champion)
    for cut in range(n + 1):
        head = Contest(EvidencePolicy())
        head.advance(seq[:cut], tenant.slice(0, cut), challenger[:cut], champion[:cut])
        arrays, meta = head.dump()
        tail = Contest.load(arrays, json.loads(json.dumps(meta)))
        tail.advance(seq[cut:], tenant.slice(cut, n), challenger[cut:], champion[cut:])
        if state(tail) != state(whole):
            return False, cut
    return True, n + 1


EXPERIMENTS = {"S11": s11, "S12": s12}

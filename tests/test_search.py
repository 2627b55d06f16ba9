"""A search over random problems of many kinds for one on which an integrator is wrong.

`search_problems.py` makes the problems, `search_solutions.npz` holds what the reference says about
them, `search_runs.py` runs the library and judges. The table over all of them is made by
`benchmarks/search.py`.
"""

import numpy as np
import pytest
import reference
import reference_inputs
import reference_modes
import reference_smooth
import search_runs
from reference import reference_flow
from search_problems import FLAT, KINDS, MAIN, SEEDS, SHAPES, arrays
from search_runs import INTEGRATORS, Run, judge, search, solutions
from search_solutions import solve
from tolerance import assert_close

MODELS = ("two slopes", "logistic", "exponential")  # which have programs of their own
FAST = [kind for kind in KINDS if kind not in (*SHAPES, *MODELS, "longer")]
SIXTY = [(kind, seed) for kind in FAST for seed in range(4)]


# Failures that the library reports, at most one in 200, each with its reason.
EXPLAINED = {  # (integrator, kind, seed)
    ("RungeKutta", "input norms over three decades", 36): "stiff: 63,011 stable steps of 60,000",
}


def told(integrator, outcomes):
    """Those that are neither right, nor ambiguous where the reference is too, nor explained."""
    left = [each for each in outcomes if each.verdict not in ("right", "ambiguous")]
    return [each for each in left if not _explained(integrator, each)]


def _explained(integrator, outcome):
    return outcome.verdict == "reported" and (integrator, *outcome[:2]) in EXPLAINED


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_sixty_problems(integrator):
    assert len(SIXTY) >= 60
    outcomes = search(integrator, SIXTY)
    assert not told(integrator, outcomes)
    assert sum(each.verdict == "ambiguous" for each in outcomes) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_all_problems_of_a_kind(integrator, kind):
    """Over a thousand problems in all; a kind is a chunk."""
    outcomes = search(integrator, [(kind, seed) for seed in SEEDS[kind]])
    assert not told(integrator, outcomes)


def test_the_solutions_cover_all_problems():
    expected = {(kind, seed) for kind in KINDS for seed in SEEDS[kind]}
    assert set(solutions()) == expected and len(expected) >= 1000
    jumps = sum(bool(each.jumps) for each in solutions().values())
    assert jumps <= 0.02 * len(expected)
    events = np.array([each.events for each in solutions().values()])
    assert np.median(events) >= 4.0
    assert len(EXPLAINED) <= len(INTEGRATORS) * len(expected) / 200
    assert {arrays(*case).x.shape for case in SIXTY} == {MAIN[:2], FLAT[:2]}


@pytest.mark.parametrize("kind", ["balanced", "through w = 0", "inputs nearly parallel", "He"])
def test_the_solutions_are_those_of_the_reference(kind):
    for seed in (1, 2):
        for stored, found in zip(solutions()[kind, seed], solve(kind, seed), strict=True):
            # Conditions are differences over 1e-12 of numbers stored to 1e-16.
            assert_close(stored, found, rtol=1e-3, atol=1e-12)
        stored, found = solutions()[kind, seed], solve(kind, seed)
        assert_close(stored.hidden, found.hidden, rtol=0.0, atol=1e-14)


# The same program, at a tighter tolerance. What only this compares: the events, one by one.
EVENTS = [(kind, seed) for kind in FAST[:3] for seed in range(0, 12, 3)]
TIGHT = {"Boost": 1e-11, "RungeKutta": 1e-12}
AGREEMENT = 1e-7  # of times, over t1
APART = 1e-6  # two events nearer to each other than this, over t1, may change places by rounding


def grouped(events, t1):
    """Those of one instant in the order of their units."""
    order, last, group = [], -np.inf, -1
    for event in sorted(events):
        group += event[0] > last + APART * t1
        last = event[0]
        order.append((int(group), *map(int, event[1:])))
    return sorted(order)


def without_excursions(events):
    """Without the pairs in which a unit leaves its boundary and next comes back to slide there.

    Where a neuron's pull has decayed to the noise of the residuals, so has alpha, and whether it
    is a little below 0 for a while is that noise.
    """
    kept = []
    for event in sorted(events):
        before = [i for i, other in enumerate(kept) if other[1:3] == event[1:3]]
        if before and event[4] == 2 and kept[before[-1]][3] == 2:
            del kept[before[-1]]
        else:
            kept.append(event)
    return kept


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_events(integrator):
    compared = 0
    runs = search_runs.run(integrator, EVENTS, TIGHT[integrator])
    for case, found in zip(EVENTS, runs, strict=True):
        right, t1 = reference_flow(*arrays(*case)[:6]), arrays(*case).t1
        if right.ambiguous or bool(solutions()[case].jumps):
            continue
        columns = right.times, right.neurons, right.samples, right.before, right.after
        theirs = without_excursions(list(zip(*columns, strict=True)))
        ours = without_excursions(found.events)
        assert grouped(ours, t1) == grouped(theirs, t1), case
        times = np.sort([e[0] for e in ours]) - np.sort([e[0] for e in theirs])
        assert np.max(np.abs(times), initial=0.0) <= AGREEMENT * t1, case
        compared += len(ours)
    assert compared > 5 * len(EVENTS)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_control_other_labels_are_told_apart(integrator):
    """Labels off by 1e-6 are wrong in all problems whose end the labels move."""
    cases = [("balanced", seed) for seed in range(0, 24, 3)]
    moved = search(integrator, cases, change=lambda case: case._replace(y=case.y * (1.0 + 1e-6)))
    assert all(each.verdict == "wrong" for each in moved)


def judged_with_a_fault(cases):
    """The outcomes of the reference itself, with a fault put into it."""
    outcomes = []
    for case in cases:
        try:
            found = reference_flow(*arrays(*case)[:6], max_steps=300)
        except RuntimeError:
            continue  # it does not get there, and says so
        run = Run(found.final.a, found.final.w, found.final.log_scale, "", 0, [])
        outcomes.append(judge(*case, run, solutions()[case]))
    return outcomes


def with_events_to(mode):
    """Those of some problems in which a unit takes this mode."""
    kinds = {2: "balanced", 3: "orthogonal"}
    cases = [(kinds[mode], seed) for seed in (0, 1, 3, 4, 6, 7, 9, 10)]
    return [case for case in cases if np.any(reference_flow(*arrays(*case)[:6]).after == mode)]


def test_control_without_a_fault_the_reference_is_right():
    outcomes = judged_with_a_fault(with_events_to(2) + with_events_to(3))
    assert len(outcomes) >= 10
    assert all(each.verdict == "right" and each.error < 1e-3 for each in outcomes)


def test_control_sliding_off(monkeypatch):
    """Units that should slide rest, with alpha = 0."""
    cases = with_events_to(2)

    def without(*arguments):
        modes, several = reference_modes.choose_modes(*arguments)
        return np.where(modes == reference_inputs.SLIDING, reference_inputs.RESTING, modes), several

    monkeypatch.setattr(reference, "choose_modes", without)
    assert all(each.verdict == "wrong" for each in judged_with_a_fault(cases))


@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_control_another_slope_at_zero(monkeypatch, slope):
    """sigma'(0) = -1, or 1, where a unit rests on its boundary."""
    cases = with_events_to(3)
    linear = reference_smooth.Flow._linear

    def other(flow):
        active = flow.on
        flow.on = np.where(flow.modes == reference_inputs.RESTING, slope, active)
        found, flow.on = linear(flow), active
        return found

    monkeypatch.setattr(reference_smooth.Flow, "_linear", other)
    outcomes = judged_with_a_fault(cases)
    assert outcomes and all(each.verdict == "wrong" for each in outcomes)

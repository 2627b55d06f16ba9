"""Implicit solvers of rf.RungeKutta (rf.Boost has no solver): steps of no length, or hardly any."""

import diffrax
import numpy as np
import pytest
from problems import gaussian_data, lane, relative_difference, small

import reluflow as rf

T1 = 20.0


def run(ts, solver=None, net=None):
    start, data = small()
    return rf.flow(
        start if net is None else net,
        data,
        T1,
        integrator=rf.RungeKutta(solver, max_sliding=3),
        saveat=diffrax.SaveAt(ts=ts),
        throw=False,
    )


TIMES = {
    "t0": np.linspace(0.0, T1, 7),
    "twice, and a few ulp apart": [0.0, 0.0, 1e-300, 1e-17, 5.0, np.nextafter(5.0, 6.0), T1],
}


@pytest.mark.parametrize("ts", TIMES.values(), ids=TIMES)
def test_a_time_to_be_saved_at_the_beginning_of_a_step(ts):
    """All states are those of an explicit solver, whose steps of length 0 are no question."""
    sol, exact = run(ts, diffrax.Kvaerno5()), run(ts)
    assert bool(sol.result == rf.RESULTS.successful)
    np.testing.assert_array_equal(sol.ts, ts)
    for index in range(len(ts)):
        ours, theirs = lane(sol.networks, index), lane(exact.networks, index)
        assert relative_difference(ours, theirs) < 1e-6


def test_a_start_on_a_boundary_saved():
    """The units on it are classified first, in a step of length 0."""
    net, _ = small()
    x = np.asarray(gaussian_data(100, 4, 3).x)[0]
    hidden = np.array(net.hidden)
    hidden[0] -= (hidden[0] @ x) / (x @ x) * x
    start = rf.Network(net.log_scale, net.output, hidden)
    sol, exact = (run(TIMES["t0"], solver, start) for solver in (diffrax.Kvaerno5(), None))
    assert bool(sol.result == rf.RESULTS.successful)
    assert relative_difference(sol.final, exact.final) < 1e-6

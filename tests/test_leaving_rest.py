"""A unit that rests on its boundary is pulled away by an input that is not orthogonal to its own.

Beside the independent reference, which gradient descent confirms.
"""

import numpy as np
import pytest
from reference import reference_flow
from tolerance import assert_close

import reluflow as rf

CASES = {  # x, y, a, w, t1, and the neuron and the unit that rest
    "from the start": (
        [[1.0, -1.0, 0.0], [-2.0, -2.0, 0.0], [0.0, 1.0, 0.1]],
        [1.0, 1.0, -2.0],
        [-0.5],
        [[-0.25, -0.25, 0.5]],
        3.0,
        (0, 0),
    ),
    "whose velocity is zero at the start alone": (
        [[1.0, 1.0], [0.0, 1.0], [2.0, -2.0]],
        [-1.0, -1.0, 1.0],
        [1.0, 1.0],
        [[1.0, 0.0], [-1.0, -0.2]],
        2.0,
        (0, 1),
    ),
    "at w = 0, where F does not jump at its own boundary": (
        [[1.0, -1.0, 0.0], [-2.0, -2.0, 0.0], [0.0, 1.0, 0.0]],
        [0.0, 1.0, -2.0],
        [-0.5],
        [[-0.25, -0.25, 0.5]],
        3.0,
        (0, 0),
    ),
    "at w = 0, held by two opposite inputs until they no longer cancel": (
        [[-2.0, 2.0], [2.0, -2.0], [-1.0, 2.0], [0.0, 0.0]],
        [-1.0, -1.0, -1.0, 1.0],
        [-0.22710706, 0.61387045, 0.50931724],
        [[-0.27163057, -0.1277433], [0.22865735, -0.13112575], [0.03030561, 0.65213405]],
        4.0,
        (1, 0),
    ),
}


def arrays(case):
    *given, t1, unit = CASES[case]
    return *map(np.array, given), t1, unit


@pytest.mark.parametrize("integrator", [rf.Boost, rf.RungeKutta])
@pytest.mark.parametrize("case", CASES)
def test_is_where_the_reference_is(case, integrator):
    x, y, a, w, t1, unit = arrays(case)
    exact = reference_flow(x, y, a, w, np.zeros(len(a)), t1)
    sol = rf.flow(rf.Network.from_weights(a, w), rf.Dataset(x, y), t1, integrator=integrator())
    scale = np.exp(exact.final.log_scale)
    expected_a, expected_w = scale * exact.final.a, scale[:, None] * exact.final.w
    found_a, found_w = sol.final.weights()
    assert_close(found_a, expected_a, atol=1e-8)
    assert_close(found_w, expected_w, atol=1e-8)
    assert_close(sol.stats["loss_final"], exact.final_loss, atol=1e-8)
    assert int(sol.ambiguities.count) == 0
    # The control: the neuron has left the boundary on which it rested, by far more than that.
    assert np.abs(expected_w[unit[0]] @ x[unit[1]]) > 0.03


def test_the_reference_is_where_descent_is():
    """Of the case in which both had the neuron rest for good: its a is 0.5544 then."""
    x, y, a, w, t1, _ = arrays("at w = 0, held by two opposite inputs until they no longer cancel")
    exact = reference_flow(x, y, a, w, np.zeros(len(a)), t1)
    for _ in range(40_000):
        p = w @ x.T
        on = p > 0.0
        force = on * (y - a @ np.where(on, p, 0.0)) @ x / len(y)
        a, w = a + 1e-4 * np.sum(w * force, axis=1), w + 1e-4 * a[:, None] * force
    assert_close(np.exp(exact.final.log_scale) * exact.final.a, a, atol=3e-5)

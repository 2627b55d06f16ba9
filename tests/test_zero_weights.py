"""Through w = 0 with |a| > |w|, where all boundaries of a neuron meet.

The right values are those of gradient descent as its step goes to 0, and of the independent
reference; test_search.py has random starts of this kind.
"""

import numpy as np
import pytest
from problems import BOTH, given, units
from tolerance import assert_close

import reluflow as rf
from reluflow._model import _modes as rf_modes

LABELS = np.array([-1.0, -0.5, 1.0])
START = np.array([1e-4]), np.array([[0.5e-4, 0.2e-4]])
UP = np.array([[0.0, 1.0], [1.0, -0.2], [-1.0, 0.3]])
DOWN = np.array([[0.0, 1.0], [1.0, -0.2], [-1.0, -0.3]])
ENDS = [  # a and w at t = 40 by gradient descent, and to what it is known
    (UP, [0.993067], [[-0.99307, 0.0]], 1e-4),
    (DOWN, [0.976452], [[-0.935272, -0.280582]], 1e-5),
]


@BOTH
@pytest.mark.parametrize(("x", "a", "w", "known"), ENDS, ids=["slides on", "goes across"])
def test_leaves_zero_where_a_direction_leads_out(integrator, x, a, w, known):
    sol = rf.flow(*given(x, LABELS, *START), 40.0, integrator=integrator)
    got_a, got_w = sol.final.weights()
    assert_close(got_a, a, atol=known)
    assert_close(got_w, w, atol=known)
    assert int(sol.ambiguities.count) == 0
    with pytest.raises(AssertionError):  # the control: at rest at w = 0 for good
        assert_close(np.zeros((1, 2)), w, atol=known)


@BOTH
def test_stays_at_zero_where_none_leads_out(integrator):
    """Positive labels, a < 0: every input pulls the neuron back."""
    sol = rf.flow(*given(UP, np.abs(LABELS), -START[0], START[1]), 40.0, integrator=integrator)
    assert_close(sol.final.hidden, 0.0, atol=1e-14)
    assert float(sol.final.output[0]) < 0.0


@BOTH
def test_leaves_zero_when_a_direction_appears(integrator):
    """Neuron 0 rests at w = 0 from t = 4.4987 on, until neuron 1 has brought r_3 above -1."""
    x = np.concatenate([UP, [[-1.0, -0.6]]])
    a, w = np.array([1e-4, -1e-5]), np.array([[0.5e-4, 0.2e-4], [-0.8e-5, -0.6e-5]])
    problem = given(x, np.append(LABELS, -1.6), a, w)
    early = rf.flow(*problem, 10.0, integrator=integrator)
    assert_close(early.final.hidden[0], 0.0, atol=1e-14)
    assert_close(early.stats["loss_final"], 0.601250, atol=1e-6)
    assert_close(early.final.weights()[0], [8.426e-5, -3.088e-4], rtol=1e-3)
    late = rf.flow(*problem, 100.0, integrator=integrator)
    assert_close(late.stats["loss_final"], 0.156250, atol=1e-6)
    assert_close(late.final.weights()[0], [0.99971, -1.73642], atol=1e-5)
    assert_close(late.final.weights()[1], [[-0.99971, 0.0], [-0.49896, -1.6632]], atol=5e-5)
    first = [time for time, *_, after in units(late, 0) if after == rf_modes.RESTING]
    assert_close(first[0], 4.4987, atol=1e-3)

"""A number of neurons out of a fixed width: the others are zero, stay zero, and change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

import reluflow as rf

KEY = jax.random.key(3)
WIDE, NARROW, DIM = 7, 4, 2
STARTS = {
    "balanced": lambda neurons, active=None: rf.balanced(KEY, neurons, DIM, -3.0, active=active),
    "unbalanced": lambda neurons, active=None: rf.unbalanced(
        KEY, neurons, DIM, -3.0, active=active
    ),
    "he_uniform": lambda neurons, active=None: rf.he_uniform(KEY, neurons, DIM, active=active),
}
INTEGRATORS = [
    pytest.param(rf.Boost(), id="boost", marks=pytest.mark.slow),  # compiles for half a minute
    pytest.param(rf.RungeKutta(), id="runge-kutta"),
]


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_active_neurons_draw_what_the_narrow_network_draws(start):
    """Bit for bit. The control: without `active`, the further neurons are not zero."""
    wide, narrow = start(WIDE, NARROW), start(NARROW)
    for name in ("log_scale", "output", "hidden"):
        array, expected = np.asarray(getattr(wide, name)), np.asarray(getattr(narrow, name))
        assert np.array_equal(array[:NARROW], expected)
    assert not np.any(wide.output[NARROW:]) and not np.any(wide.hidden[NARROW:])
    assert np.all(np.asarray(start(WIDE).output) != 0.0)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_the_flow_of_a_traced_width_is_that_of_the_narrow_network(integrator):
    """One program for both widths. The control: the full width ends elsewhere."""
    data = rf.datasets.two_points()
    traces = []

    @jax.jit
    def flow(active):
        traces.append(active)
        net = rf.balanced(KEY, WIDE, DIM, -3.0, active=active)
        return rf.flow(net, data, t1=30.0, integrator=integrator, throw=False)

    sol, wider = flow(NARROW), flow(WIDE)
    assert len(traces) == 1
    narrow = rf.flow(rf.balanced(KEY, NARROW, DIM, -3.0), data, t1=30.0, integrator=integrator)
    assert sol.result == rf.RESULTS.successful
    assert not np.any(sol.final.output[NARROW:]) and not np.any(sol.final.hidden[NARROW:])
    (a, w), (b, v) = sol.final.weights(), narrow.final.weights()
    assert_close(a[:NARROW], b, atol=1e-12)
    assert_close(w[:NARROW], v, atol=1e-12)
    counts = int(sol.events.count), int(narrow.events.count)
    assert counts[0] == counts[1] > 0 and sol.stats["num_steps"] == narrow.stats["num_steps"]
    times = [each.events.time[: counts[0]] for each in (sol, narrow)]
    assert_close(*times, rtol=1e-12)
    with pytest.raises(AssertionError):
        assert_close(wider.final.weights()[0][:NARROW], b, atol=1e-12)


@pytest.mark.parametrize("active", [0, WIDE + 1, 2.0, "two", [2]])
def test_refuses_a_number_that_there_is_not(active):
    with pytest.raises(ValueError, match="Argument `active` must be an integer from 1 to"):
        rf.balanced(KEY, WIDE, DIM, -3.0, active=active)


def test_refuses_a_traced_number_that_is_none():
    with pytest.raises(TypeError, match="Argument `active` must be an integer, but it is traced"):
        jax.jit(lambda active: rf.balanced(KEY, WIDE, DIM, -3.0, active=active))(jnp.float64(2.0))

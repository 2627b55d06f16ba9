"""Out of a slide: to the right side, at the right time, with the right derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import BOTH, given, units
from tolerance import assert_close

import reluflow as rf
from reluflow._model._modes import ACTIVE, INACTIVE, SLIDING


def exit_to_the_active_side():
    """Neuron 0 leaves sample 0 where its only other active residual has decayed to 1e-10."""
    x = np.array([[0.19, -0.19, -0.72], [0.09, -0.15, -0.66], [-0.48, 0.41, 2.56]])
    y = np.array([-0.45, -0.73, 1.93])
    w = np.array(
        [
            [0.035, -0.028, -0.025],
            [0.017, 0.07, 0.072],
            [0.053, 0.025, -0.013],
            [0.003, -0.054, 0.005],
            [0.078, -0.077, -0.014],
            [0.017, 0.017, 0.057],
        ]
    )
    a = np.array([1.0, 1.0, -1.0, 1.0, -1.0, 1.0]) * np.linalg.norm(w, axis=1)
    return given(x, y, a, w)


# By a Taylor series of order 40 in 113 bits with event logic of its own.
EVENTS = [  # of neuron 0
    (3.093656, 1, ACTIVE, INACTIVE),
    (3.127554, 2, INACTIVE, ACTIVE),
    (4.191724, 0, ACTIVE, SLIDING),
    (10.052422, 0, SLIDING, ACTIVE),
    (14.561221, 2, ACTIVE, INACTIVE),
    (14.656434, 1, INACTIVE, SLIDING),
    (55.678227, 1, SLIDING, ACTIVE),
]
LAST_SLOPE = 5.4e-5  # of alpha r at the last exit, which tells its time
OUTPUTS = [
    0.04473112001467353,
    0.7095459811491435,
    -0.3976320898149704,
    0.14221705484188815,
    -0.8105113938903401,
    0.46084906523709696,
]
LOSS, WRONG_LOSS = 0.00948642218419183, 0.009495678765911791  # where it leaves to the other side


@BOTH
@pytest.mark.parametrize("rtol", [1e-6, 1e-8, 1e-11])
def test_leaves_to_the_active_side(integrator, rtol):
    sol = rf.flow(*exit_to_the_active_side(), 60.0, rtol=rtol, integrator=integrator)
    found = units(sol, 0)
    assert [event[1:] for event in found] == [event[1:] for event in EVENTS]
    times, right = (np.array([event[0] for event in events]) for events in (found, EVENTS))
    assert_close(times[:-1], right[:-1], atol=20 * rtol + 1e-6)  # the digits of the right values
    assert_close(times[-1], right[-1], atol=rtol / LAST_SLOPE + 1e-6)
    assert_close(sol.final.weights()[0], OUTPUTS, atol=10 * rtol)
    assert_close(sol.stats["loss_final"], LOSS, atol=10 * rtol)
    assert int(sol.ambiguities.count) == 0
    if rtol < 1e-6:  # the control
        with pytest.raises(AssertionError):
            assert_close(WRONG_LOSS, LOSS, atol=10 * rtol)


@BOTH
def test_the_mirror_image_leaves_to_the_active_side(integrator):
    """With all signs of labels and outputs changed, and all neurons in the other order."""
    net, data = exit_to_the_active_side()
    mirrored = rf.Network(net.log_scale, -net.output[::-1], net.hidden[::-1])
    sol = rf.flow(mirrored, rf.Dataset(data.x, -data.y), 60.0, integrator=integrator)
    assert_close(sol.final.weights()[0], -np.array(OUTPUTS)[::-1], atol=1e-7)


@BOTH
@pytest.mark.parametrize(("rtol", "known"), [(1e-8, 1e-7), (1e-11, 1e-10)])
def test_leaves_in_closed_form(integrator, rtol, known):
    """Neuron 0 starts on its boundary and slides: |w_0|^2 = z / k with z' = k z (1 - z), the other
    neuron's q' = q (1 - q), and alpha = (1 - z) / (2 (1 - q)) reaches 1 at `time`."""
    k, time = np.sqrt(3.0) / 2.0, 1.7484207809160088
    x, y = np.array([[1.0, 0.0], [0.5, k]]), np.array([-1.0, 1.0])
    a, w = np.array([0.4, -np.sqrt(0.3)]), np.array([[0.0, 0.4], [np.sqrt(0.3), -3.0]])
    sol = rf.flow(*given(x, y, a, w), 3.0, rtol=rtol, integrator=integrator)
    (leaves,) = [event for event in units(sol, 0) if event[2] == SLIDING]
    assert leaves[1:] == (0, SLIDING, ACTIVE)
    assert_close(leaves[0], time, atol=known)
    with pytest.raises(AssertionError):
        assert_close(time + 2e-7, time, atol=known)  # the control


DERIVATIVES = {  # of an event's time along all log-scales at once; central differences in 113 bits
    "exit": (
        [[1.209, -0.199, 0.41], [1.725, 1.412, -1.481], [-1.403, 0.906, 0.537]],
        [-0.149, -0.358, -0.724],
        [0.941, -0.393, 0.676, -0.623, -0.725, -0.925],
        [
            [-0.505, 0.954, -1.204],
            [-0.213, -1.009, -0.277],
            [0.097, 0.651, -0.86],
            [0.957, 0.734, 1.119],
            [0.469, -1.382, 1.254],
            [0.191, 0.025, -1.164],
        ],
        (0.0, 4.05, (0, 2, SLIDING), 2.709449, -4.0814804),
    ),
    "entry": (
        [[1.18, 1.088, 0.627], [-0.348, 0.205, 0.863], [-1.37, 0.539, 0.301]],
        [-1.0, -1.0, 1.0],
        [-2.583, -0.14, 1.022, 0.886, 1.875, 2.095],
        [
            [-0.885, 1.868, -1.549],
            [-0.057, 0.126, -0.025],
            [0.386, -0.48, -0.815],
            [0.162, 0.84, 0.232],
            [-0.971, -0.325, 1.571],
            [-0.97, 1.478, -1.125],
        ],
        (-0.612, 13.16, (5, 1, INACTIVE), 11.489865, 24.389548),
    ),
}


@pytest.mark.slow  # test_derivatives.py has a derivative in the fast run
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_of_event_times(name):
    """With rf.Boost: rf.RungeKutta has none."""
    x, y, a, w, (log_scale, t1, event, time, slope) = DERIVATIVES[name]
    net, data = given(x, y, a, w, log_scale)

    def times(shift):
        moved = rf.Network(net.log_scale + shift, net.output, net.hidden)
        events = rf.flow(moved, data, t1, rtol=1e-11).events
        here = (events.neuron == event[0]) & (events.boundary == event[1])
        return jnp.where(here & (events.before == event[2]), events.time, 0.0)

    found, moves = map(np.asarray, jax.jvp(times, (jnp.zeros(()),), (jnp.ones(()),)))
    place = np.argmax(found)
    assert_close(found[place], time, rtol=1e-6)
    assert_close(moves[place], slope, rtol=1e-6)

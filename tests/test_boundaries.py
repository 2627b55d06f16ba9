"""At a boundary the flow crosses, slides, stops or leaves: every case in closed form.

Four inputs of dimension 4, two neurons: one of size e^-300, which is watched, and a large one,
which moves at most one residual (see `problems`). One shape, one compilation.
"""

import numpy as np
import pytest
from problems import (
    NAMES,
    TINY,
    boost,
    boost_root,
    event_list,
    logistic,
    logistic_time,
    network,
    on_one_sample,
    scaled_weights,
)
from tolerance import assert_close

import reluflow as rf
from reluflow._model._modes import ACTIVE, INACTIVE, RESTING, SLIDING

UNIT = np.eye(4)
SPARE = [3.0 * UNIT[3]]  # a sample orthogonal to all others
RTOL = 1e-12


@pytest.fixture(params=[rf.RungeKutta(max_sliding=3), rf.Boost(max_sliding=3)], ids=NAMES)
def run(request):
    def run(net, data, t1, rtol=RTOL, **options):
        return rf.flow(net, data, t1, rtol=rtol, integrator=request.param, **options)

    return run


def check(sol, events, a, w):
    """These events, (time, sample, before, after), of neuron 0, and these weights over e^TINY."""
    found = [event for event in event_list(sol) if event[1] == 0]
    assert [event[2:] for event in found] == [event[1:] for event in events]
    assert_close([e[0] for e in found], [e[0] for e in events], rtol=1e-10)
    got_a, got_w = (leaf[0] for leaf in scaled_weights(sol.final, np.array([TINY, 0.0])))
    size = np.sqrt(a**2 + w @ w)
    assert_close(got_a, a, atol=1e-10 * size)
    assert_close(got_w, w, atol=1e-10 * size)


def pair(second, y_first, y_second):
    """x_0 = e_0, x_1 = `second`, and two more that nothing is active on."""
    x = np.array([UNIT[0], second, -UNIT[2], *SPARE])
    return rf.Dataset(x, np.array([y_first, y_second, 0.0, 0.0]))


A, W = 1.3, np.array([0.9, -1.5, 0.2, -0.1])  # the tiny neuron: on x_0, not on x_1
SECOND = np.array([0.6, 1.1, 0.0, 0.0])


def arrival():
    """(time, a, w) at <w, x_1> = 0 with x_0 alone active, y_0 = 1."""
    force = UNIT[0] / 4.0
    time = boost_root(A, W, force, SECOND)
    return time, *boost(A, W, force, time)


def test_crosses(run):
    time, a, w = arrival()
    force = (UNIT[0] + 0.5 * SECOND) / 4.0
    check(
        run(network((A, W)), pair(SECOND, 1.0, 0.5), 5.0),
        [(time, 1, INACTIVE, ACTIVE)],
        *boost(a, w, force, 5.0 - time),
    )


def test_crosses_off(run):
    """y_1 < 0 pushes out of x_1 a neuron that starts inside, and x_0 pushes it too."""
    second, w = np.array([-0.6, 1.1, 0.0, 0.0]), np.array([0.9, 1.5, 0.2, -0.1])
    force = (UNIT[0] - 0.5 * second) / 4.0
    time = boost_root(A, w, force, second)
    at = boost(A, w, force, time)
    check(
        run(network((A, w)), pair(second, 1.0, -0.5), 5.0),
        [(time, 1, ACTIVE, INACTIVE)],
        *boost(*at, UNIT[0] / 4.0, 5.0 - time),
    )


def test_slides(run):
    """r_1 < 0 pushes back what r_0 pushes on: D loses its part along x_1."""
    time, a, w = arrival()
    along = SECOND / np.linalg.norm(SECOND)
    force = (UNIT[0] - along[0] * along) / 4.0
    sol = run(network((A, W)), pair(SECOND, 1.0, -2.0), 5.0)
    check(sol, [(time, 1, INACTIVE, SLIDING)], *boost(a, w, force, 5.0 - time))
    pre = np.asarray(sol.final.preactivations(pair(SECOND, 1.0, -2.0).x))[0, 1]
    assert abs(pre) < 1e-13


def test_slides_against_two_at_once(run):
    """x_1 and x_2 are reached one after the other, and D is orthogonal to both."""
    third = np.array([0.5, 0.1, 1.2, 0.0])
    x = np.array([UNIT[0], SECOND, third, SPARE[0]])
    data = rf.Dataset(x, np.array([1.0, -2.0, -3.0, 0.0]))
    start = (A, np.array([0.9, -1.5, -1.4, -0.1]))
    time, a, w = arrival()
    w = w + (start[1] - W)
    along = SECOND / np.linalg.norm(SECOND)
    force = (UNIT[0] - along[0] * along) / 4.0
    later = boost_root(a, w, force, third)
    a, w = boost(a, w, force, later)
    basis = np.linalg.qr(np.stack([SECOND, third], axis=1))[0]
    force = (UNIT[0] - basis @ basis[0]) / 4.0
    check(
        run(network(start), data, 6.0),
        [(time, 1, INACTIVE, SLIDING), (time + later, 2, INACTIVE, SLIDING)],
        *boost(a, w, force, 6.0 - time - later),
    )


MIRROR = np.array([0.6, 0.0, 1.1, 0.0])  # of SECOND: a neuron on the mirror reaches both at once


@pytest.mark.parametrize(
    ("y_1", "y_2", "modes"),
    [
        (0.5, 0.5, (ACTIVE, ACTIVE)),
        (-2.0, -2.0, (SLIDING, SLIDING)),
        (-2.0, -3.0, (SLIDING, SLIDING)),  # the labels do not matter while alpha is in (0, 1)
        (-2.0, 0.5, (SLIDING, ACTIVE)),
        (0.5, -2.0, (ACTIVE, SLIDING)),
        (-0.2, -0.2, (ACTIVE, ACTIVE)),
    ],
)
def test_two_boundaries_at_one_instant(run, y_1, y_2, modes):
    x = np.array([UNIT[0], SECOND, MIRROR, SPARE[0]])
    data, start = rf.Dataset(x, np.array([1.0, y_1, y_2, 0.0])), np.array([0.9, -1.5, -1.5, -0.1])
    time = boost_root(A, start, UNIT[0] / 4.0, SECOND)
    a, w = boost(A, start, UNIT[0] / 4.0, time)
    active = UNIT[0] + sum(
        label * row
        for label, row, mode in zip((y_1, y_2), x[1:3], modes, strict=True)
        if mode == ACTIVE
    )
    held = [row for row, mode in zip(x[1:3], modes, strict=True) if mode == SLIDING]
    basis = np.linalg.qr(np.array(held).T)[0] if held else np.zeros((4, 1))
    force = (active - basis @ (basis.T @ active)) / 4.0
    sol = run(network((A, start)), data, 5.0)
    events = [event for event in event_list(sol) if event[1] == 0]
    found = sorted(event[1:] for event in events)
    assert found == [(0, k, INACTIVE, mode) for k, mode in zip((1, 2), modes, strict=True)]
    assert_close([event[0] for event in events], time, rtol=1e-10)
    a, w = boost(a, w, force, 5.0 - time)
    got_a, got_w = (leaf[0] for leaf in scaled_weights(sol.final, np.array([TINY, 0.0])))
    assert_close(got_a, a, rtol=1e-10)
    assert_close(got_w, w, atol=1e-10)


def test_stops(run):
    """Orthogonal inputs: r_1 < 0 pushes the neuron off x_1; at the boundary nothing is left."""
    data, start = pair(UNIT[1], 1.0, -2.0), (A, np.array([0.9, 0.4, 0.2, -0.1]))
    force = (UNIT[0] - 2.0 * UNIT[1]) / 4.0
    time = boost_root(*start, force, UNIT[1])
    a, w = boost(*start, force, time)
    sol = run(network(start), data, 5.0)
    check(sol, [(time, 1, ACTIVE, RESTING)], *boost(a, w, UNIT[0] / 4.0, 5.0 - time))


def test_leaves_inwards(run):
    """alpha_1 = -r_0 c / (r_1 |x_1|^2) grows to 1 as a large neuron takes r_1 towards 0."""
    data = pair(SECOND, 1.0, -2.0)
    length = np.linalg.norm(SECOND)
    large = on_one_sample(data, 1, -0.02, np.array([-1.1, 0.6, 0.0, 0.0]) * 2.0)
    assert np.all(large[1] @ np.asarray(data.x)[[0, 3]].T <= 0.0)
    time, a, w = arrival()
    rate = 2.0 * length / 4.0
    critical = -2.0 + UNIT[0] @ SECOND / length**2  # the prediction where alpha is 1
    leaving = logistic_time(0.02, 2.0, rate, -critical)
    assert leaving > time
    along = SECOND / length
    a, w = boost(a, w, (UNIT[0] - along[0] * along) / 4.0, leaving - time)
    sol = run(network((A, W), large), data, leaving)
    found = [event for event in event_list(run(network((A, W), large), data, 9.0)) if event[1] == 0]
    assert [event[2:] for event in found] == [(1, INACTIVE, SLIDING), (1, SLIDING, ACTIVE)]
    assert_close([event[0] for event in found], [time, leaving], rtol=1e-10)
    got_a, got_w = (leaf[0] for leaf in scaled_weights(sol.final, np.array([TINY, 0.0])))
    assert_close(got_a, a, rtol=1e-10)
    assert_close(got_w, w, atol=1e-10 * abs(a))
    prediction = -logistic(0.02, 2.0, rate, leaving)
    assert_close(sol.final(data.x)[1], prediction, rtol=1e-10)


def test_leaves_outwards(run):
    """alpha_1 falls to 0: r_2 pushes out of x_1, and r_0, which pushes on, dies away."""
    third = np.array([0.0, -0.3, 1.0, 0.0])
    x = np.array([UNIT[0], SECOND, third, SPARE[0]])
    data = rf.Dataset(x, np.array([1.0, -2.0, 0.5, 0.0]))
    start = (A, np.array([0.9, -0.6, 0.6, -0.1]))
    large = on_one_sample(data, 0, 0.2, np.array([0.0, -3.0, -2.0, 0.0]))
    sol = run(network(start, large), data, 12.0)
    found = [event for event in event_list(sol) if event[1] == 0]
    assert [event[2:] for event in found] == [(1, INACTIVE, SLIDING), (1, SLIDING, INACTIVE)]
    # r_0 <x_0, x_1> + r_2 <x_2, x_1> = 0
    residual = -0.5 * (third @ SECOND) / (UNIT[0] @ SECOND)
    leaving = logistic_time(0.2, 1.0, 2.0 / 4.0, 1.0 - residual)
    assert_close(found[1][0], leaving, rtol=1e-10)


# A start exactly on the boundary of x_1


ON = (A, np.array([0.9, 0.0, 0.0, 0.0]))
ACROSS = np.array([0.0, 1.0, 0.0, 0.0])


def start_on(run, pull, y_1):
    """p_1 = 0 exactly, v- = pull and v+ = pull + y_1, both times a / 4.

    The pull on x_1 = e_1 comes from x_2 = pull e_1 + e_2 + e_0, on which the neuron is active.
    """
    x = np.array([UNIT[0], ACROSS, np.array([1.0, pull, 1.0, 0.0]), SPARE[0]])
    data = rf.Dataset(x, np.array([0.0, y_1, 1.0, 0.0]))
    return run(network(ON), data, 1.0), x


@pytest.mark.parametrize(
    ("pull", "y_1", "alpha"),
    [
        (0.5, 1.0, 1.0),  # both sides go on: active at once
        (-0.5, -1.0, 0.0),  # both sides go off
        (0.5, -1.0, 0.5),  # attractive: slides from the start
        (-0.5, 1.0, 0.0),  # repulsive: either side, so alpha = 0, and it is said so
    ],
)
def test_start_on_a_boundary(run, pull, y_1, alpha):
    sol, x = start_on(run, pull, y_1)
    force = (x[2] + alpha * y_1 * x[1]) / 4.0
    a, w = boost(*ON, force, 1.0)
    got_a, got_w = (leaf[0] for leaf in scaled_weights(sol.final, np.array([TINY, 0.0])))
    assert_close(got_a, a, rtol=1e-11)
    assert_close(got_w, w, atol=1e-11)
    assert int(sol.stats["num_ambiguous"]) == (1 if pull < 0.0 < y_1 else 0)
    assert all(event[0] == 0.0 for event in event_list(sol) if event[1] == 0)
    assert ("not unique" in str(sol)) == (pull < 0.0 < y_1)


def test_start_at_rest_on_a_boundary(run):
    """Orthogonal inputs, p_1 = 0: sigma'(0) = 0, so it stays, whatever the label."""
    for label in (2.0, -2.0):
        data = pair(UNIT[1], 1.0, label)
        sol = run(network(ON), data, 5.0)
        _, w = (leaf[0] for leaf in scaled_weights(sol.final, np.array([TINY, 0.0])))
        assert w[1] == 0.0
        assert all(event[4] == RESTING for event in event_list(sol) if event[1:3] == (0, 1))


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_a_double_crossing_inside_a_step_is_not_missed(run, rtol):
    """p_1 dips below zero for a time of 0.25 in the middle of a step of several units.

    r_1 = 0, so x_1 moves nothing: p_1 follows the boost along x_0, where <u, w> turns round.
    """
    force, a, w = UNIT[0] / 4.0, -0.6, np.array([1.0, -1.0, 0.3, 0.0])
    turning = np.arctanh(0.6) / 0.25
    lowest = boost(a, w, force, turning)[1]
    second = np.array([1.0, -(lowest[0] + 2e-4) / lowest[1], 0.0, 0.0])
    assert w @ second > 0.1 and abs(lowest @ second + 2e-4) < 1e-12
    first = boost_root(a, w, force, second)
    back = first + boost_root(*boost(a, w, force, first), force, second)
    assert 0.1 < back - first < 0.5
    sol = run(network((a, w)), pair(second, 1.0, 0.0), 10.0, rtol=rtol)
    times = [event[0] for event in event_list(sol) if event[1:3] == (0, 1)]
    assert len(times) == 2
    # A grazing root is only as good as the square root of the tolerance.
    assert_close(times, [first, back], rtol=max(30.0 * rtol, 1e-9))


def test_control_a_flow_without_events_is_wrong(run):
    """What the sliding test would see if the boundary were ignored."""
    time, a, w = arrival()
    data = pair(SECOND, 1.0, -2.0)
    sol = run(network((A, W)), data, 5.0)
    _, got = scaled_weights(sol.final, np.array([TINY, 0.0]))
    for force in (UNIT[0] / 4.0, (UNIT[0] - 2.0 * SECOND) / 4.0):
        assert np.linalg.norm(boost(a, w, force, 5.0 - time)[1] - got[0]) > 0.1


def test_several_neurons_at_one_instant(run):
    """Two equal tiny neurons arrive together: each gets its event, at the same time."""
    net = rf.Network([TINY, TINY], [A, A], [W, W])
    time, _, _ = arrival()
    sol = run(net, pair(SECOND, 1.0, -2.0), 5.0)
    events = event_list(sol)
    assert sorted(event[1:] for event in events) == [(j, 1, INACTIVE, SLIDING) for j in (0, 1)]
    assert_close([event[0] for event in events], time, rtol=1e-12)
    assert_close(sol.final.hidden[0], sol.final.hidden[1], rtol=1e-13)

"""A descent whose step is too large says so, also where it ends at numbers that look like any."""

import jax
import numpy as np
import optax
import pytest
from problems import five_points, lane, small, two_points
from tolerance import assert_close

import reluflow as rf

PROBLEMS = {"two points": two_points, "five points": five_points, "small": small}


def dead(net, data):
    return not np.any(np.asarray(net.preactivations(data.x)) > 0.0)


@pytest.mark.parametrize("save_every", [None, 1])
@pytest.mark.parametrize("rate", [10.0, 1e3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_large_step_has_diverged(name, rate, save_every):
    """On two points, and at 10 on five, it ends with all neurons dead and the loss |y|^2 / 2n."""
    net, data = PROBLEMS[name]()
    sol = rf.descent(net, data, optax.sgd(rate), 400, save_every=save_every, throw=False)
    assert bool(sol.result == rf.RESULTS.diverged)
    kept = np.isfinite(sol.ts)
    assert kept[0] and not kept[-1] and np.all(np.isinf(sol.losses[~kept]))


def test_with_throw_it_raises():
    with pytest.raises(RuntimeError, match="the step of the descent is too large"):
        rf.descent(*two_points(), optax.sgd(1e3), 400)


def test_control_what_it_would_have_said():
    """Momentum 0 is the same descent with a state, whose time is not known: nothing is refused.

    The control of the test above, and what is still the user's to see: dead, at |y|^2 / 2n.
    """
    net, data = two_points()
    sol = rf.descent(net, data, optax.sgd(1e3, momentum=0.0), 400)
    assert dead(sol.final, data)
    assert_close(sol.stats["loss_final"], np.mean(data.y**2) / 2.0, rtol=1e-12)


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0, 1.9])
def test_control_a_step_below_two_over_the_curvature_is_none(rate):
    """One neuron on one sample with x = y = 1 ends at a = w = 1, where the curvature is 2."""
    net, data = rf.Network.from_weights([0.1], [[0.1]]), rf.Dataset([[1.0]], [1.0])
    steps = 100 if rate > 1.0 else int(40 / rate)
    sol = rf.descent(net, data, optax.sgd(rate / 2.0), steps, save_every=max(1, steps // 50))
    assert bool(sol.result == rf.RESULTS.successful) and np.all(np.isfinite(sol.losses))


@pytest.mark.parametrize("name", PROBLEMS)
def test_control_the_descent_beside_a_flow_is_none(name):
    """At a step that follows the flow, through all plateaus, from e^-14 and from e^3."""
    net, data = PROBLEMS[name]()
    larger = rf.Network(net.log_scale + 3.0, net.output, net.hidden)
    for start, rate, steps in ((net, 1e-2, 6000), (larger, 1e-4, 2000)):
        sol = rf.descent(start, data, optax.sgd(rate), steps, save_every=100)
        assert bool(sol.result == rf.RESULTS.successful)


def test_a_neuron_that_dies_in_its_flow_is_no_divergence():
    """a > 0 against a negative label, |a| > |w|: w crosses its boundary, and stays there."""
    net, data = rf.Network.from_weights([1.0], [[0.1]]), rf.Dataset([[1.0]], [-1.0])
    sol = rf.descent(net, data, optax.sgd(1e-3), 5000, save_every=50)
    assert dead(sol.final, data) and bool(sol.result == rf.RESULTS.successful)
    # The inequality itself, at every save: along the flow with factor 1, here with little more.
    start = lane(sol.networks, 0).weights()
    for index in range(1, len(sol.ts)):
        here = lane(sol.networks, index).weights()
        moved = sum(float(np.sum((a - b) ** 2)) for a, b in zip(here, start, strict=True))
        assert moved <= 1.001 * float(sol.ts[index] * (sol.losses[0] - sol.losses[index]))


def test_a_start_from_nothing_or_from_the_minimum():
    """Nothing moves, and nothing falls: rounding is no divergence."""
    data = rf.Dataset([[1.0]], [1.0])
    for weight in (0.0, 1.0, 0.3, 1e-150):
        net = rf.Network.from_weights([weight], [[weight]])
        for rate in (0.1, 0.0):
            sol = rf.descent(net, data, optax.sgd(rate), 100, save_every=10)
            assert bool(sol.result == rf.RESULTS.successful)


def test_under_vmap_each_lane_has_its_own():
    _, data = two_points()
    optimiser = optax.sgd(1e3)

    def run(scale):
        net, _ = two_points()
        net = rf.Network(net.log_scale + scale, net.output, net.hidden)
        return rf.descent(net, data, optimiser, 50, throw=False)

    sols = jax.vmap(run)(np.array([-600.0, 0.0]))  # the first has not grown yet
    ends = np.asarray(sols.result == rf.RESULTS.diverged).tolist()
    alone = [bool(run(scale).result == rf.RESULTS.diverged) for scale in (-600.0, 0.0)]
    assert ends == alone and ends[1]

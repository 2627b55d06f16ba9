"""When the flow comes to rest: the run ends there, noise makes no events, and time never stands
still."""

import jax
import numpy as np
import pytest
from problems import BOTH, BOTH_IN_TIME, five_points, given, two_points
from tolerance import assert_close

import reluflow as rf


def with_bias(points, labels):
    return rf.Dataset(np.stack([points, np.ones(len(points))], axis=1), np.array(labels))


NOISE = with_bias(
    [
        -0.7240638542660893,
        -0.4493823684777414,
        0.02476462696632087,
        0.3256859050335985,
        0.34072116820496756,
        0.5760791890079837,
    ],
    [
        -0.07639308928509854,
        0.342849305404629,
        -0.4351703209735856,
        -0.7571917518656978,
        0.197490931374765,
        -0.3352829118439397,
    ],
)


def noisy():
    """A local minimum of positive loss, at which the last residuals fall as slowly as algebra."""
    return rf.balanced(jax.random.key(1), 20, 2, np.log(1e-3)), NOISE


# At rtol 1e-10 an explicit solver takes its steps of stability for long, until rest is known.
@BOTH
@pytest.mark.parametrize(
    ("t1", "rtol"),
    [(3e3, 1e-6), (3e3, 1e-8), (3e3, 1e-10), (3e4, 1e-8), (1e300, 1e-8), (np.inf, 1e-6)],
)
def test_noise_at_rest_makes_no_events(integrator, rtol, t1):
    """67 events, the last at t = 1187.6479, by an independent Taylor series in 113 bits."""
    sol = rf.flow(*noisy(), t1, rtol=rtol, integrator=integrator)
    times = np.asarray(sol.events.time)[: int(sol.events.count)]
    assert len(times) == 67
    assert_close(times[-1], 1187.6479, rtol=max(1e-6, 100 * rtol))
    assert_close(sol.stats["loss_final"], 0.0385243230099208, atol=10 * rtol)
    assert int(sol.ambiguities.count) == 0 and int(sol.stats["num_steps"]) < 10_000
    rested = rf.RESULTS.rest_reached if np.isinf(t1) else rf.RESULTS.successful
    assert bool(sol.result == rested)


@BOTH
def test_two_points_to_rest(integrator):
    net, data = two_points(log_lambda=-30.0)
    sol = rf.flow(net, data, np.inf, integrator=integrator)
    assert bool(sol.result == rf.RESULTS.rest_reached)
    assert 20.0 < float(sol.stats["t_final"]) < 1e3
    later = rf.flow(net, data, 1e6, integrator=integrator)
    assert_close(sol.final(data.x), later.final(data.x), atol=1e-8)
    assert_close(later.final(data.x), data.y, atol=1e-8)


@BOTH
def test_a_plateau_is_no_rest(integrator):
    """At lambda = e^-1000 the flow looks at rest until t = 2000, with the loss of h = 0."""
    net, data = two_points(log_lambda=-1000.0)
    early = rf.flow(net, data, 500.0, integrator=integrator)
    at_zero = float(np.mean(data.y**2) / 2.0)
    assert_close(early.stats["loss_final"], at_zero, rtol=1e-12)
    sol = rf.flow(net, data, np.inf, integrator=integrator)
    assert bool(sol.result == rf.RESULTS.rest_reached)
    assert float(sol.stats["t_final"]) > 1000.0 and float(sol.stats["loss_final"]) < 1e-15


@BOTH
def test_a_neuron_that_shrinks_for_ever(integrator):
    """One sample of label -1, a = w = 1: h' = -2 h (h + 1) decays like e^(-2 t), never negative."""
    problem = given([[1.0]], [-1.0], [1.0], [[1.0]])
    sol = rf.flow(*problem, 1e6, integrator=integrator)
    assert int(sol.stats["num_steps"]) < 1000
    assert_close(sol.stats["loss_final"], 0.5, rtol=1e-8)
    # h = q / (1 - q) with q = e^(-2 t) / 2, the squares of the weights.
    t1 = 5.0
    q = np.exp(-2.0 * t1) / 2.0
    early = rf.flow(*problem, t1, integrator=integrator)
    assert_close(early.final.weights()[0] ** 2, q / (1.0 - q), rtol=1e-7)
    ended = rf.flow(*problem, np.inf, integrator=integrator)
    assert bool(ended.result == rf.RESULTS.rest_reached)
    assert_close(ended.stats["loss_final"], 0.5, rtol=1e-8)


@BOTH
@pytest.mark.parametrize("key", range(3))
def test_time_does_not_stand_still(integrator, key):
    """Sixty unbalanced neurons, many events close together: at rest well before t = 5000."""
    data = with_bias([-1.0, -0.6, -0.1, 0.3, 0.7], [0.28, -0.1, 0.03, 0.23, -0.22])
    net = rf.unbalanced(jax.random.key(key), 60, 2, np.log(1e-5))
    sol = rf.flow(net, data, 5000.0, integrator=integrator, max_steps=20_000)
    assert bool(sol.result == rf.RESULTS.successful)
    assert_close(sol.stats["loss_final"], 0.0139, rtol=0.3)
    assert float(sol.stats["t_final"]) == 5000.0


@BOTH
def test_far_beyond_convergence(integrator):
    """Five points from a large start, which comes to rest early."""
    net, data = five_points(log_lambda=np.log(10.0 / np.sqrt(120.0)))
    early, sol = (rf.flow(net, data, t1, integrator=integrator) for t1 in (200.0, 1e5))
    # An explicit solver takes about 45 stable steps per unit of time until it rests, and none then.
    assert int(sol.stats["num_steps"]) <= int(early.stats["num_steps"]) + 2
    assert_close(sol.stats["loss_final"], early.stats["loss_final"], atol=1e-15)
    rest = rf.flow(net, data, np.inf, integrator=integrator)
    assert float(rest.stats["t_final"]) < 200.0
    assert_close(rest.stats["loss_final"], sol.stats["loss_final"], atol=1e-8)


@BOTH_IN_TIME
def test_each_lane_rests_when_it_does(integrator):
    def run(log_lambda):
        net, data = two_points()
        moved = rf.Network(net.log_scale - net.log_scale + log_lambda, net.output, net.hidden)
        sol = rf.flow(moved, data, np.inf, integrator=integrator, throw=False)
        return sol.stats["t_final"], sol.stats["loss_final"], sol.result

    scales = np.array([-5.0, -100.0, -1000.0])
    ends, losses, results = jax.jit(jax.vmap(run), compiler_options=rf.compiler_options())(scales)
    assert np.all(results == rf.RESULTS.rest_reached) and np.all(np.diff(ends) > 0.0)
    assert_close(losses, 0.0, atol=1e-15)

"""`Solution.evaluate`: the network at any time, as exact as the steps."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import event_list, five_points, lane, relative_difference, two_points

import reluflow as rf


def orthonormal():
    data = rf.datasets.orthonormal(jax.random.key(1), 6)
    return rf.balanced(jax.random.key(0), 10, 6, np.log(1e-3)), data


PROBLEMS = {
    "two points": (two_points, 40.0),
    "five points": (five_points, 120.0),
    "orthonormal": (orthonormal, 60.0),
}
# At these tolerances the error of the whole run is below AGREEMENT.
INTEGRATORS = {"boost": (rf.Boost(), 1e-11), "runge-kutta": (rf.RungeKutta(), 1e-12)}
AGREEMENT = 1e-9
ROOM = 512
# Dense output of rf.Boost takes long to compile; test_dense_small.py has it on six neurons.
BOTH_IN_TIME = pytest.mark.parametrize(
    "integrator", [pytest.param("boost", marks=pytest.mark.slow), "runge-kutta"]
)


def run(name, integrator, t1):
    kind, rtol = INTEGRATORS[integrator]
    saveat = diffrax.SaveAt(dense=True, steps=1)
    make = PROBLEMS[name][0]
    return rf.flow(*make(), t1, integrator=kind, rtol=rtol, saveat=saveat, max_steps=ROOM)


@functools.cache
def solved(name, integrator):
    return run(name, integrator, PROBLEMS[name][1])


@functools.cache
def times(name):
    """51 of them: spread evenly, with both ends, and on either side of events."""
    t1 = PROBLEMS[name][1]
    events = np.array([event[0] for event in event_list(solved(name, "runge-kutta"))])
    events = events[np.linspace(0, len(events) - 1, 10).astype(int)]
    return np.sort(np.concatenate([np.linspace(0.0, t1, 31), events * (1 - 1e-9), events]))


@functools.cache
def saved(name):
    """By a run whose steps end at every one of the times: none is inside a step."""
    make, t1 = PROBLEMS[name]
    saveat = diffrax.SaveAt(ts=times(name))
    return rf.flow(*make(), t1, integrator=rf.RungeKutta(), rtol=1e-13, saveat=saveat).networks


def differences(ours, theirs, count):
    return np.array([relative_difference(lane(ours, i), lane(theirs, i)) for i in range(count)])


@BOTH_IN_TIME
@pytest.mark.parametrize(
    "name",
    [
        "five points",  # which slides
        pytest.param("two points", marks=pytest.mark.slow),
        pytest.param("orthonormal", marks=pytest.mark.slow),
    ],
)
def test_against_runs_that_save_there(name, integrator):
    sol, ts = solved(name, integrator), times(name)
    assert bool(sol.result == rf.RESULTS.successful) and int(sol.events.count) > 5
    nets = sol.evaluate(ts)
    assert np.max(differences(nets, saved(name), len(ts))) < AGREEMENT
    assert relative_difference(lane(nets, 0), PROBLEMS[name][0]()[0]) < 1e-14
    assert relative_difference(lane(nets, -1), sol.final) < 1e-13


@BOTH_IN_TIME
def test_against_flows_that_end_there(integrator):
    """By the same integrator: a time inside a step is the end of another run's last step."""
    t1, ts = PROBLEMS["five points"][1], times("five points")
    nets = solved("five points", integrator).evaluate(ts)
    for i in (7, 23, 41):
        assert 0.0 < ts[i] < t1
        until = run("five points", integrator, ts[i])
        assert relative_difference(lane(nets, i), until.final) < AGREEMENT


@BOTH_IN_TIME
def test_control_a_cubic_between_the_ends_is_far_off(integrator):
    """Of the same steps, at their middles: Hermite's cubic through values and slopes."""
    name = "five points"
    sol, (_, data) = solved(name, integrator), PROBLEMS[name][0]()
    count = int(sol.stats["num_accepted_steps"])
    ends, nets = sol.ts[:count], lane(sol.networks, slice(count))
    length = np.diff(ends)
    long = np.argsort(length)[-51:]  # as many as there are `times`: nothing new to compile
    long = np.resize(np.sort(long), 51)
    at = (ends[long] + ends[long + 1]) / 2.0
    exact = sol.evaluate(at)
    a, w = jax.vmap(rf.Network.weights)(nets)
    scale = jnp.exp(nets.log_scale)
    slope = jax.vmap(lambda net: rf.field(0.0, net, data))(nets)
    slopes = scale * slope.output, scale[..., None] * slope.hidden

    def middle(y, dy):
        h = length[long].reshape(-1, *[1] * (y.ndim - 1))
        return (y[long] + y[long + 1]) / 2.0 + h / 8.0 * (dy[long] - dy[long + 1])

    pair = zip((a, w), slopes, jax.vmap(rf.Network.weights)(exact), strict=True)
    errors = [np.max(np.abs(middle(y, dy) - true)) / np.max(np.abs(true)) for y, dy, true in pair]
    assert max(errors) > 1e3 * AGREEMENT


@pytest.mark.slow
def test_a_thousand_times_cost_no_step():
    """Neither asked for beforehand, of rf.Boost, nor afterwards."""
    make, t1 = PROBLEMS["five points"]
    ts = np.linspace(0.0, t1, 1000)
    sol = rf.flow(
        *make(),
        t1,
        integrator=rf.Boost(),
        rtol=1e-11,
        max_steps=ROOM,
        saveat=diffrax.SaveAt(ts=ts, dense=True),
    )
    alone = solved("five points", "boost")
    for count in ("num_steps", "num_sweeps"):
        assert int(sol.stats[count]) == int(alone.stats[count])
    some = [*range(0, 1000, 20), 999]
    nets = sol.evaluate(ts[some])
    assert np.max(differences(nets, lane(sol.networks, np.array(some)), 51)) < 1e-11

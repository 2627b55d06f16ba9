"""`Solution.evaluate`: the network at any time, as exact as the steps."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import event_list, five_points, gaussian_data, lane, relative_difference, two_points

import reluflow as rf


def orthonormal():
    data = rf.datasets.orthonormal(jax.random.key(1), 6)
    return rf.balanced(jax.random.key(0), 10, 6, np.log(1e-3)), data


SLOW = pytest.mark.slow  # where it is one more compilation of rf.Boost
ORTHONORMAL = pytest.param("orthonormal", marks=SLOW)
PROBLEMS = {
    "two points": (two_points, 40.0),
    "five points": (five_points, 120.0),
    "orthonormal": (orthonormal, 60.0),
}
# At these tolerances the error of the whole run is below AGREEMENT.
INTEGRATORS = {"boost": (rf.Boost(), 1e-11), "runge-kutta": (rf.RungeKutta(), 1e-12)}
AGREEMENT = 1e-9
ROOM = 512


@functools.cache
def solved(name, integrator):
    make, t1 = PROBLEMS[name]
    kind, rtol = INTEGRATORS[integrator]
    saveat = diffrax.SaveAt(dense=True, steps=1)
    return rf.flow(*make(), t1, integrator=kind, rtol=rtol, saveat=saveat, max_steps=ROOM)


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


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize(
    "name", [pytest.param("two points", marks=SLOW), "five points", ORTHONORMAL]
)
def test_against_runs_that_save_there(name, integrator):
    sol, ts = solved(name, integrator), times(name)
    assert bool(sol.result == rf.RESULTS.successful) and int(sol.events.count) > 5
    nets = sol.evaluate(ts)
    assert np.max(differences(nets, saved(name), len(ts))) < AGREEMENT
    assert relative_difference(lane(nets, 0), PROBLEMS[name][0]()[0]) < 1e-14
    assert relative_difference(lane(nets, -1), sol.final) < 1e-13


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_against_flows_that_end_there(integrator):
    """By the same integrator: a time inside a step is the end of another run's last step."""
    make, t1 = PROBLEMS["five points"]
    kind, rtol = INTEGRATORS[integrator]
    ts = times("five points")
    nets = solved("five points", integrator).evaluate(ts)
    for i in (7, 23, 41):
        assert 0.0 < ts[i] < t1
        until = rf.flow(*make(), ts[i], integrator=kind, rtol=rtol)
        assert relative_difference(lane(nets, i), until.final) < AGREEMENT


@pytest.mark.parametrize("integrator", INTEGRATORS)
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


@SLOW
def test_a_thousand_times_cost_no_step():
    """Neither asked for beforehand, of rf.Boost, nor afterwards."""
    make, t1 = PROBLEMS["five points"]
    ts = np.linspace(0.0, t1, 1000)
    sol = rf.flow(
        *make(), t1, integrator=rf.Boost(), rtol=1e-11, max_steps=ROOM,
        saveat=diffrax.SaveAt(ts=ts, dense=True),
    )  # fmt: skip
    alone = solved("five points", "boost")
    for count in ("num_steps", "num_sweeps"):
        assert int(sol.stats[count]) == int(alone.stats[count])
    some = [*range(0, 1000, 20), 999]
    nets = sol.evaluate(ts[some])
    assert np.max(differences(nets, lane(sol.networks, np.array(some)), 51)) < 1e-11


# Six neurons on four points, as elsewhere

INTEGRATOR = {"boost": rf.Boost(max_sliding=3), "runge-kutta": rf.RungeKutta(max_sliding=3)}


def alone(seed, integrator, **options):
    net = rf.balanced(jax.random.key(seed), 6, 3, -3.0)
    options = {"max_steps": ROOM, "rtol": 1e-10, "saveat": diffrax.SaveAt(dense=True)} | options
    return rf.flow(
        net, gaussian_data(100 + seed, 4, 3), 10.0, integrator=INTEGRATOR[integrator], **options
    )


@pytest.mark.parametrize("integrator", [pytest.param("boost", marks=SLOW), "runge-kutta"])
def test_under_jit_and_vmap(integrator):
    @eqx.filter_jit
    def lanes(keys, data):
        def one(key, data):
            net = rf.balanced(key, 6, 3, -3.0)
            return rf.flow(
                net, data, 10.0, integrator=INTEGRATOR[integrator], rtol=1e-10, throw=False,
                saveat=diffrax.SaveAt(dense=True), max_steps=ROOM,
            )  # fmt: skip

        sols = jax.vmap(one)(keys, data)
        return sols, jax.vmap(lambda sol: sol.evaluate(jnp.array([[0.1, 3.0], [10.0, 0.0]])))(sols)

    data = [gaussian_data(100 + seed, 4, 3) for seed in range(3)]
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    sols, nets = lanes(keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *data))
    assert nets.hidden.shape == (3, 2, 2, 6, 3)
    for seed in range(3):
        own = alone(seed, integrator)
        for place, t in (((0, 1), 3.0), ((1, 0), 10.0)):
            there = lane(nets, (seed, *place))
            assert relative_difference(there, own.evaluate(t)) < 1e-10
    assert relative_difference(lane(nets, (0, 0, 0)), lane(nets, (0, 0, 1))) > 1e-3
    with pytest.raises(ValueError, match=r"lanes \(3,\); use jax.vmap"):
        sols.evaluate(1.0)


@pytest.mark.parametrize("integrator", [pytest.param("boost", marks=SLOW), "runge-kutta"])
def test_a_full_buffer_ends_the_run_and_is_right_until_there(integrator):
    whole = alone(0, integrator)
    room = int(whole.stats["num_steps"]) // 2
    sol = alone(0, integrator, max_steps=room, throw=False)
    assert bool(sol.result == rf.RESULTS.max_steps_reached)
    last = float(sol.stats["t_final"])
    assert 0.0 < last < 10.0
    ts = np.linspace(0.0, last, 5)
    assert np.max(differences(sol.evaluate(ts), whole.evaluate(ts), 5)) < 1e-12
    with pytest.raises(ValueError, match=r"must lie in \[t0, t_final\]"):
        sol.evaluate(last * 1.001)


@pytest.mark.parametrize("integrator", INTEGRATOR)
def test_times_outside_are_refused(integrator):
    sol = alone(0, integrator)
    for t in (-1e-9, 10.1, np.nan, [1.0, 11.0]):
        with pytest.raises(ValueError, match=r"`t` must lie in \[t0, t_final\]"):
            sol.evaluate(t)
    with pytest.raises(RuntimeError, match=r"`t` must lie in \[t0, t_final\]"):
        eqx.filter_jit(lambda sol, t: sol.evaluate(t))(sol, jnp.array(10.1))
    with pytest.raises(ValueError, match=r"SaveAt\(dense=True\)"):
        alone(0, integrator, saveat=None).evaluate(1.0)


@pytest.mark.parametrize("integrator", INTEGRATOR)
def test_a_start_on_a_boundary(integrator):
    """The first steps are of length zero: they classify the units that stand there."""
    data = gaussian_data(100, 4, 3)
    x = np.asarray(data.x)
    net = rf.balanced(jax.random.key(0), 6, 3, -3.0)
    w = np.array(net.hidden)
    for j in range(2):
        w[j] = np.cross(x[j], x[j + 1])  # on two boundaries at once
        w[j] *= abs(float(net.output[j])) / np.linalg.norm(w[j])
    net = rf.Network(net.log_scale, net.output, w)
    options = {"integrator": INTEGRATOR[integrator], "rtol": 1e-10, "max_steps": ROOM}
    sol = rf.flow(net, data, 10.0, saveat=diffrax.SaveAt(dense=True), **options)
    assert relative_difference(sol.evaluate(0.0), net) < 1e-14
    until = rf.flow(net, data, 2.0, saveat=diffrax.SaveAt(dense=True), **options)
    assert relative_difference(sol.evaluate(2.0), until.final) < 1e-9


def test_its_derivative_in_time_is_the_field():
    sol, data = alone(0, "boost"), gaussian_data(100, 4, 3)
    net, slope = jax.jvp(sol.evaluate, (jnp.array(3.0),), (jnp.array(1.0),))
    slope_a, slope_w = jax.jvp(rf.Network.weights, (net,), (slope,))[1]
    field = rf.field(3.0, net, data)
    scale = jnp.exp(net.log_scale)
    slides = np.any(np.abs(np.asarray(net.preactivations(data.x))) < 1e-12, axis=1)
    assert np.sum(~slides) > 3  # the field of a sliding unit is not that of `rf.field`
    free = np.flatnonzero(~slides)
    np.testing.assert_allclose(slope_a[free], (scale * field.output)[free], rtol=1e-6, atol=1e-9)
    expected = (scale[:, None] * field.hidden)[free]
    np.testing.assert_allclose(slope_w[free], expected, rtol=1e-6, atol=1e-9)

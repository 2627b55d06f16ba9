"""`Solution.evaluate` of six neurons: jit, vmap, wrong times, and runs that ended early."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import gaussian_data, lane, relative_difference
from tolerance import assert_close

import reluflow as rf
from reluflow._integration._interpolation import Interpolation

ROOM = 512
INTEGRATOR = {"boost": rf.Boost(max_sliding=3), "runge-kutta": rf.RungeKutta(max_sliding=3)}

# Where rf.Boost is one more long compilation, and other tests here evaluate its steps.
ONE = [pytest.param("boost", marks=pytest.mark.slow), "runge-kutta"]


def alone(seed, integrator, **options):
    net = rf.balanced(jax.random.key(seed), 6, 3, -3.0)
    options = {"max_steps": ROOM, "rtol": 1e-10, "saveat": diffrax.SaveAt(dense=True)} | options
    return rf.flow(
        net, gaussian_data(100 + seed, 4, 3), 10.0, integrator=INTEGRATOR[integrator], **options
    )


@pytest.mark.parametrize("integrator", ONE)
def test_under_jit_and_vmap(integrator):
    @functools.partial(eqx.filter_jit, compiler_options=rf.compiler_options())
    def lanes(keys, data):
        def one(key, data):
            net = rf.balanced(key, 6, 3, -3.0)
            return rf.flow(
                net,
                data,
                10.0,
                integrator=INTEGRATOR[integrator],
                rtol=1e-10,
                throw=False,
                saveat=diffrax.SaveAt(dense=True),
                max_steps=ROOM,
            )

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


@pytest.mark.parametrize("integrator", ONE)
def test_a_full_buffer_ends_the_run_and_is_right_until_there(integrator):
    whole = alone(0, integrator)
    room = int(whole.stats["num_steps"]) // 2
    sol = alone(0, integrator, max_steps=room, throw=False)
    assert bool(sol.result == rf.RESULTS.max_steps_reached)
    last = float(sol.stats["t_final"])
    assert 0.0 < last < 10.0
    ts = np.linspace(0.0, last, 5)
    ours, theirs = sol.evaluate(ts), whole.evaluate(ts)
    assert max(relative_difference(lane(ours, i), lane(theirs, i)) for i in range(5)) < 1e-12
    with pytest.raises(ValueError, match=r"must lie in \[t0, t_final\]"):
        sol.evaluate(last * 1.001)


def test_any_number_of_times_is_one_program():
    """On one integrator: steps of both are taken again inside the same loop."""
    sol = alone(0, "runge-kutta")
    ts = np.linspace(0.0, 10.0, 8)
    every = [sol.evaluate(t) for t in ts]
    programs = Interpolation._at_first.outermost()._cached._cache_size
    compiled = programs()
    for count in (1, 5, 8):
        nets = sol.evaluate(ts[:count])
        assert nets.hidden.shape == (count, 6, 3)
        assert max(relative_difference(lane(nets, i), every[i]) for i in range(count)) < 1e-14
    assert programs() == compiled
    assert sol.evaluate(np.linspace(0.0, 10.0, 9)).hidden.shape == (9, 6, 3)
    assert programs() == compiled + 1  # the control: 9 are more than there is room for


@pytest.mark.parametrize("integrator", INTEGRATOR)
def test_times_outside_are_refused(integrator):
    sol = alone(0, integrator)
    for t in (-1e-9, 10.1, np.nan, [1.0, 11.0]):
        with pytest.raises(ValueError, match=r"`t` must lie in \[t0, t_final\]"):
            sol.evaluate(t)


def test_refused_under_jit_and_without_steps():
    """Before the integrator is asked: one of them will do."""
    sol = alone(0, "runge-kutta")
    with pytest.raises(RuntimeError, match=r"`t` must lie in \[t0, t_final\]"):
        eqx.filter_jit(lambda sol, t: sol.evaluate(t))(sol, jnp.array(10.1))
    with pytest.raises(ValueError, match=r"SaveAt\(dense=True\)"):
        alone(0, "runge-kutta", saveat=None).evaluate(1.0)


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


@pytest.mark.parametrize("integrator", INTEGRATOR)
def test_its_derivative_in_time_is_the_field(integrator):
    """Inside the run, and at its ends, where a bound of the time must not halve it."""
    sol, data = alone(0, integrator), gaussian_data(100, 4, 3)
    end = float(sol.stats["t_final"])
    for t in (0.0, 3.0, end):
        slopes = jax.jacfwd(lambda t: sol.evaluate(t).weights())(jnp.array(t))
        net = sol.evaluate(t)
        field = rf.field(t, net, data)
        scale = jnp.exp(net.log_scale)
        slides = np.any(np.abs(np.asarray(net.preactivations(data.x))) < 1e-12, axis=1)
        assert np.sum(~slides) > 2  # the field of a sliding unit is not that of `rf.field`
        free = np.flatnonzero(~slides)
        expected = (scale * field.output, scale[:, None] * field.hidden)
        for slope, right in zip(slopes, expected, strict=True):
            assert_close(slope[free], right[free], rtol=1e-6, atol=1e-8)
            assert np.max(np.abs(slope)) > 1e-4  # a half of it would be told


def test_at_no_times():
    sol = alone(0, "runge-kutta")
    nets = sol.evaluate(np.zeros((0,)))
    assert nets.hidden.shape == (0, *sol.final.hidden.shape)

"""Parallel, antiparallel, repeated and zero inputs: several samples on one boundary.

Oracles: samples on one side of a boundary are one sample; x -> -x is a symmetry; XOR and one
dimension have closed forms; two boundaries that come together; gradient descent; the energy. What
they are compared with has no shared boundary, so that it is what `reference.py` has checked.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import BOTH, logistic
from tolerance import assert_close

import reluflow as rf

NEURONS, DIM = 6, 2
RTOL = 1e-9


def flow(integrator, net, x, y, t1):
    """With traced data: one program for all data of a shape."""
    return _TRACED[type(integrator)](net, jnp.asarray(x), jnp.asarray(y), jnp.asarray(t1))


def _traced(integrator):
    def solve(net, x, y, t1):
        return rf.flow(net, rf.Dataset(x, y), t1, rtol=RTOL, integrator=integrator, throw=False)

    return jax.jit(solve, compiler_options=rf.compiler_options())


_TRACED = {type(made): _traced(made) for made in (rf.RungeKutta(), rf.Boost())}


def start(seed, scale=0.3, neurons=NEURONS, dim=DIM):
    rng = np.random.default_rng(seed)
    w = scale * rng.normal(size=(neurons, dim))
    return rf.Network.from_weights(rng.choice([-1.0, 1.0], neurons) * np.linalg.norm(w, axis=1), w)


def weights(sol):
    a, w = sol.final.weights()
    return np.concatenate([np.asarray(a)[:, None], np.asarray(w)], axis=1)


def ended(sol):
    return bool(sol.result == rf.RESULTS.successful)


FACTORS = [1.0, 2.5, 1.0 + 1e-15, 0.01]


@BOTH
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("seed", range(3))
def test_samples_on_one_side_are_one_sample(integrator, seed, factor):
    """u with label y and c u with label y' are sqrt(1 + c^2) u with label (y + c y') over that; in
    a set of n samples, n - 1 of that have the clock n / (n - 1)."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(3, DIM)), rng.normal(size=4)
    size = np.sqrt(1.0 + factor**2)
    merged = np.array([size * x[0], x[1], x[2]]), np.array([(y[0] + factor * y[3]) / size, *y[1:3]])
    sol = flow(integrator, start(seed), [*x, factor * x[0]], y, 8.0)
    one = flow(integrator, start(seed), *merged, 6.0)
    assert ended(sol) and ended(one)
    assert_close(weights(sol), weights(one), atol=1e-6)
    count = int(one.events.count)
    assert int(sol.events.count) == count
    assert count > 0 or seed == 1  # where nothing happens
    ours, theirs = (np.argsort(s.events.time)[: max(count, 1)] for s in (sol, one))
    assert_close(sol.events.time[ours], one.events.time[theirs] / 0.75, rtol=1e-6)
    for name in ("neuron", "boundary", "before", "after"):
        mine, other = (getattr(s.events, name) for s in (sol, one))
        np.testing.assert_array_equal(mine[ours], other[theirs])
    # Control: the labels conflict, and so no one label fits both.
    other = flow(integrator, start(seed), merged[0], np.array([y[0], *y[1:3]]), 6.0)
    assert np.max(np.abs(weights(sol) - weights(other))) > 1e-3


@BOTH
def test_a_zero_input_moves_nobody(integrator):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(3, DIM)), rng.normal(size=4)
    sol = flow(integrator, start(5), [x[0], np.zeros(DIM), x[1], x[2]], y, 8.0)
    one = flow(integrator, start(5), x, y[[0, 2, 3]], 6.0)
    assert ended(sol) and ended(one)
    assert_close(weights(sol), weights(one), atol=1e-6)
    constant = y[1] ** 2 / 8.0
    assert_close(sol.stats["loss_final"], 0.75 * one.stats["loss_final"] + constant, rtol=1e-7)
    known = set(np.asarray(sol.events.boundary)[: int(sol.events.count)].tolist())
    assert known and known <= {0, 2, 3}


def antiparallel(seed, factor=-1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, DIM))
    return np.array([*x, factor * x[0]]), rng.normal(size=4)


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_all_inputs_turned_round(integrator, seed):
    """(a, w, x) -> (a, -w, -x), in which the sides of every boundary change places."""
    x, y = antiparallel(seed, -0.7)
    net = start(seed)
    turned = rf.Network(net.log_scale, net.output, -net.hidden)
    order = [3, 1, 2, 0]  # so that the opposite input is the first one of its boundary
    sol = flow(integrator, net, x, y, 8.0)
    other = flow(integrator, turned, -x[order], y[order], 8.0)
    assert ended(sol) and ended(other)
    assert_close(weights(sol)[:, 0], weights(other)[:, 0], atol=1e-6)
    assert_close(weights(sol)[:, 1:], -weights(other)[:, 1:], atol=1e-6)


@BOTH
@pytest.mark.parametrize("factor", [-1.0, -0.4])
@pytest.mark.parametrize("seed", range(6))
def test_two_boundaries_that_come_together(integrator, seed, factor):
    """The same with the two inputs turned apart by e, as e goes to 0: of first order in e.

    For one sign of e at least. Between the two boundaries both units, or neither, are active, which
    on one boundary they never are; there a neuron that would cross may be held.
    """
    x, y = antiparallel(seed, factor)
    right = flow(integrator, start(seed), x, y, 6.0)
    assert ended(right)

    def error(angle):
        turned = x.copy()
        turned[3] += angle * np.array([-x[3, 1], x[3, 0]])
        near = flow(integrator, start(seed), turned, y, 6.0)
        assert ended(near)
        return np.max(np.abs(weights(near) - weights(right)))

    errors = [(error(sign * 1e-3), error(sign * 1e-5)) for sign in (1.0, -1.0)]
    comes = [near < 1e-3 and near < 0.05 * far + 1e-7 for far, near in errors]
    assert any(comes) and (seed != 1 or not all(comes))


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_descent_is_of_first_order(integrator, seed):
    x, y = antiparallel(seed)
    right, errors = flow(integrator, start(seed), x, y, 4.0), []
    for steps in (4000, 8000):
        rate = 4.0 / steps
        near = rf.descent(start(seed), rf.Dataset(x, y), optax.sgd(rate), steps)
        errors.append(np.max(np.abs(weights(near) - weights(right))))
    assert errors[0] < 2e-2 and 1.5 < errors[0] / errors[1] < 2.7


@BOTH
def test_xor(integrator):
    """With the neurons along the inputs the four are independent: of those along x_k, a_j = |w_j|,
    u_k = sum_j a_j |w_j| |x_k| follows a logistic."""
    data = rf.datasets.xor()
    x, y = np.asarray(data.x), np.asarray(data.y)
    a = 0.03 * np.array([[1.0, 0.5, 2.0, 1.0], [1.0, 1.0, 1.0, 0.2], [0.5, 1.0, 2.0, 1.0]])
    w = a[:, :, None] * x / np.sqrt(2.0)
    net = rf.Network.from_weights((y * a).ravel(), w.reshape(12, 2))
    t1 = 9.0
    sol = rf.flow(net, data, t1, rtol=RTOL, integrator=integrator)
    start = np.sqrt(2.0) * np.sum(a**2, axis=0)
    expected = logistic(start, 1.0, 2.0 * np.sqrt(2.0) / 4.0, t1)
    assert_close(y * np.asarray(sol.final(x)), expected, rtol=1e-7)
    assert np.all(expected > 0.1) and np.all(expected < 0.999)
    small = rf.balanced(jax.random.key(0), 12, 2, np.log(1e-4))
    end = rf.flow(small, data, jnp.inf, integrator=integrator)
    assert bool(end.result == rf.RESULTS.rest_reached)
    assert_close(end.final.squared_norm(), 4.0 * np.sqrt(2.0), rtol=1e-6)


@BOTH
def test_one_dimension_without_bias(integrator):
    """Neurons with w > 0 see the positive inputs, the others the negative ones: two logistics."""
    data = rf.datasets.one_dimensional([1.0, -0.5, 2.0, -1.0], [1.0, 0.7, 1.5, 0.8], bias=False)
    u, y = np.asarray(data.x)[:, 0], np.asarray(data.y)
    a = np.array([0.1, 0.2])
    net = rf.Network.from_weights(a, a[:, None] * np.array([[1.0], [-1.0]]))
    sol = rf.flow(net, data, 3.0, rtol=RTOL, integrator=integrator)
    for k, side in enumerate((u > 0.0, u < 0.0)):
        square, pull = np.sum(u[side] ** 2), np.sum(np.abs(u[side]) * y[side])
        expected = logistic(a[k] ** 2, pull / square, 2.0 * square / 4.0, 3.0)
        assert_close(np.asarray(sol.final.weights()[0])[k] ** 2, expected, rtol=1e-7)
    assert data.boundaries() == {0: [0, 1, 2, 3]}


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_seen_and_traced_inputs_are_the_same(integrator, seed):
    """Where the inputs are traced there is room for as many boundaries as there are samples."""
    x, y = antiparallel(seed)
    traced = flow(integrator, start(seed), x, y, 6.0)
    data = rf.Dataset(x, y)
    seen = rf.flow(start(seed), data, 6.0, rtol=RTOL, integrator=integrator)
    assert ended(traced)
    assert_close(weights(traced), weights(seen), atol=1e-8)
    assert int(seen.events.count) == int(traced.events.count) > 0
    assert_close(np.sort(seen.events.time), np.sort(traced.events.time), rtol=1e-7)
    names = np.asarray(seen.events.boundary)[: int(seen.events.count)]
    assert set(names.tolist()) <= set(data.boundaries()) == {0, 1, 2}


@BOTH
def test_the_energy_and_going_on(integrator):
    data = rf.datasets.symmetric_pairs(jax.random.key(1), 2, DIM, "normal")
    whole = rf.flow(start(1), data, 6.0, rtol=RTOL, integrator=integrator)
    part = rf.flow(start(1), data, 2.5, rtol=RTOL, integrator=integrator)
    on = rf.flow(part, t1=6.0, rtol=RTOL, integrator=integrator)
    assert_close(weights(on), weights(whole), atol=1e-7)
    assert int(whole.events.count) > 0

    def loss(net):
        return float(rf.loss(net, data))

    a, w = weights(part)[:, 0], weights(part)[:, 1:]
    h = 1e-5
    later = rf.flow(part, t1=2.5 + h, rtol=1e-12, integrator=integrator)
    moved = np.sum((weights(later) - np.column_stack([a, w])) ** 2) / h
    assert_close(loss(part.final) - loss(later.final), moved, rtol=1e-3)


@BOTH
def test_rest_where_a_way_out_of_zero_ends_as_none(integrator):
    """Inputs on one line. Neurons come to w = 0, and wait there for the samples on one side, which
    are fitted by least squares: what would let them go vanishes in the end."""
    x, y = np.outer([1.0, 2.0, -1.0, 0.5], [1.0, 2.0]), np.array([1.0, 1.0, 2.0, 0.0])
    net = rf.balanced(jax.random.key(0), NEURONS, DIM, -3.0)
    sol = flow(integrator, net, x, y, np.inf)
    assert bool(sol.result == rf.RESULTS.rest_reached)
    fitted = x[:, 0] > 0.0
    slope = x[fitted, 0] @ y[fitted] / np.sum(x[fitted, 0] ** 2)
    left = np.where(fitted, y - slope * x[:, 0], y)
    assert_close(sol.stats["loss_final"], np.mean(left**2) / 2.0, rtol=1e-7)


@BOTH
def test_nothing_but_zero_inputs(integrator):
    sol = flow(integrator, start(0), np.zeros((4, DIM)), np.arange(4.0), np.inf)
    assert bool(sol.result == rf.RESULTS.rest_reached)
    assert_close(weights(sol), np.column_stack(start(0).weights()), rtol=1e-14)
    assert ended(flow(integrator, start(0), np.zeros((4, DIM)), np.arange(4.0), 1e300))


@BOTH
def test_a_start_at_zero_stays_there(integrator):
    """relu'(0) = 0 for both inputs of a boundary; and the flow is not unique, which is said."""
    x, y = np.asarray(rf.datasets.xor().x), np.asarray(rf.datasets.xor().y)
    a, w = start(1).weights()
    net = rf.Network.from_weights(a, w.at[0].set(0.0))
    sol = flow(integrator, net, x, y, 8.0)
    assert ended(sol) and np.all(weights(sol)[0, 1:] == 0.0) and weights(sol)[0, 0] == a[0]
    assert int(sol.ambiguities.count) == 1 and int(sol.ambiguities.neuron[0]) == 0
    pulled = np.flatnonzero(np.sign(a[0]) * (y - np.asarray(net(x))) > 0.0)
    assert set(pulled.tolist()) <= set(np.flatnonzero(sol.ambiguities.at[0]).tolist())

"""What the papers give in closed form, against the flow and other formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

import reluflow as rf
from reluflow import theory


def orthonormal(seed=1, samples=6, dim=9):
    return rf.datasets.orthonormal(jax.random.key(seed), samples, dim)


def stretched(seed=1, samples=6, dim=9):
    data = orthonormal(seed, samples, dim)
    return rf.Dataset(np.asarray(data.x) * np.linspace(0.5, 2.0, samples)[:, None], data.y)


# The minimal norm


@pytest.mark.parametrize("data", [orthonormal(), stretched(), rf.datasets.two_points()])
def test_minimal_norm_network(data):
    """It interpolates, is balanced, and has the norm of Prop. 1; a KKT point (eq. 36, 37)."""
    net = theory.minimal_norm_network(data)
    assert_close(net(data.x), data.y, rtol=1e-12)
    assert_close(net.squared_norm(), theory.minimal_squared_norm(data), rtol=1e-14)
    a, w = map(np.asarray, net.weights())
    assert_close(np.abs(a), np.linalg.norm(w, axis=1), rtol=1e-14)
    variation = np.sum(np.abs(a) * np.linalg.norm(w, axis=1))
    assert_close(variation, theory.minimal_variation_norm(data), rtol=1e-14)
    # Multipliers mu with theta = sum_k mu_k grad h(x_k): from a, and then w must follow.
    active = np.asarray(net.preactivations(data.x)) > 1e-9
    assert np.array_equal(active, np.sign(a)[:, None] * np.asarray(data.y) > 0.0)
    length = np.linalg.norm(data.x, axis=1)
    mu = (active.T @ (w / a[:, None]) * np.asarray(data.x)).sum(axis=1) / length**2
    assert_close(w, (active * mu) @ np.asarray(data.x) * a[:, None], atol=1e-13)
    # Control: one neuron per sample interpolates too, at a larger norm.
    split = np.sum(2.0 * np.abs(data.y) / length)
    assert float(net.squared_norm()) < 0.99 * split or len(data.y) == 2


def test_minimal_norm_network_of_one_sign():
    data = rf.Dataset(np.eye(3), [1.0, 2.0, 2.0])
    net = theory.minimal_norm_network(data)
    assert_close(net.squared_norm(), 6.0, rtol=1e-15)
    np.testing.assert_array_equal(net.hidden[1], np.zeros(3))
    with pytest.raises(ValueError, match="`data`"):
        theory.minimal_norm_network(rf.datasets.five_points())


def test_directions_and_covering_neurons():
    """2n (|D+| + |D-|) is the minimal norm; the sets by a plain loop over eq. 5 and 6."""
    data = orthonormal()
    x, y = np.asarray(data.x), np.asarray(data.y)
    norms = [np.linalg.norm(D(data)) for D in (theory.D_plus, theory.D_minus)]
    assert_close(2.0 * 6 * sum(norms), theory.minimal_squared_norm(data), rtol=1e-13)
    assert_close(theory.D_plus(data) + theory.D_minus(data), y @ x / 6, rtol=1e-12)
    net = rf.balanced(jax.random.key(0), 60, 9, -5.0)
    a, w = np.asarray(net.output), np.asarray(net.hidden)
    plus = [a[j] > 0 and all(w[j] @ x[k] > 0 for k in range(6) if y[k] > 0) for j in range(60)]
    minus = [a[j] < 0 and all(w[j] @ x[k] > 0 for k in range(6) if y[k] < 0) for j in range(60)]
    assert any(plus) and any(minus)
    np.testing.assert_array_equal(theory.S_plus_1(net, data), plus)
    np.testing.assert_array_equal(theory.S_minus_1(net, data), minus)
    # Controls: the other sign, and a neuron exactly on a boundary.
    assert not np.array_equal(theory.S_minus_1(net, data), plus)
    on = rf.Network([0.0], [1.0], [[1.0, 0.0]])
    assert not np.any(theory.S_plus_1(on, rf.Dataset(np.eye(2), [1.0, 1.0])))
    assert np.all(theory.S_plus_1(on, rf.Dataset(np.eye(2), [1.0, -1.0])))


# Phases


@pytest.mark.parametrize("flip", [False, True])
def test_phases_of_the_flow(flip):
    """Lemmas 2 to 4 on a flow: the inequalities hold at t_1, t_2, on the saddle and at t_3."""
    size = 3000.0
    data = rf.Dataset(np.eye(4), np.array([1.0, 2.0, -1.0, -0.7]) * (-1.0 if flip else 1.0))
    net = rf.balanced(jax.random.key(3), 40, 4, -size)
    assert theory.assumptions(net, data).theorem_1
    phases = theory.phases(data, -size)
    eps, sign = float(phases.epsilon), float(phases.first_sign)
    assert sign == (-1.0 if flip else 1.0) and 0.0 < eps < 0.2
    assert_close(eps, theory.largest_epsilon(data))
    D = [theory.D_plus(data), theory.D_minus(data)]
    S = [theory.S_plus_1(net, data), theory.S_minus_1(net, data)]
    if flip:
        D, S = D[::-1], S[::-1]
    first, second = (float(np.linalg.norm(d)) for d in D)
    assert first > second

    def run(t):
        return rf.flow(net, data, t, integrator=rf.Boost()).final

    def log_sum(now, members):
        return np.log(np.sum(np.exp(2.0 * np.asarray(now.log_norm())[np.asarray(members)])))

    now = run(phases.alignment)
    norms = np.linalg.norm(now.hidden, axis=1)
    unit = np.asarray(now.hidden) / norms[:, None]
    lam = np.exp(-size * eps)
    assert np.all(unit[S[0]] @ np.asarray(D[0]) * sign >= (1.0 - 2.0 * lam) * first - 1e-12)
    assert np.all(unit[S[1]] @ np.asarray(D[1]) * -sign >= (1.0 - 2.0 * lam) * second - 1e-12)
    c = np.max(np.linalg.norm(net.hidden, axis=1))
    bound = np.log(2.0 * c) - size * (1.0 - first / second * eps)
    assert np.max(now.log_norm()) <= bound
    # Control: not yet aligned at the start, and beyond the bound at the end of the second phase.
    assert np.min(np.asarray(net.hidden)[S[0]] @ np.asarray(D[0])) < 0.9 * first * np.max(norms)
    assert np.max(run(phases.first_fitted).log_norm()) > bound

    second_loss = np.sum(np.where(sign * data.y < 0.0, data.y, 0.0) ** 2) / 8.0
    for t in (phases.first_fitted, phases.saddle_left):
        now = run(t)
        assert_close(rf.loss(now, data), second_loss, rtol=1e-6)
        assert_close(log_sum(now, S[0]), np.log(4.0 * first), atol=1e-6)
        others = np.asarray(now.log_norm())[~np.asarray(S[0])]
        assert np.max(others) <= np.log(2.0 * c) - eps * size
    assert float(theory.pl_constant(now, data)) < 1e-6  # a saddle: the control of the last line
    now = run(phases.second_fitted)
    assert float(rf.loss(now, data)) < 1e-6
    assert_close(log_sum(now, S[1]), np.log(4.0 * second), atol=1e-6)
    assert float(theory.pl_constant(now, data)) >= float(theory.pl_lemma_5(data)) > 0.1
    # Control: before the drops, none of that.
    assert float(rf.loss(run(0.97 * phases.first_drop), data)) > 2.0 * second_loss
    assert float(rf.loss(run(0.97 * phases.second_drop), data)) > 0.9 * second_loss


def test_phases_in_order():
    phases = theory.phases(orthonormal(), -100.0)
    times = [
        getattr(phases, name)
        for name in (
            "alignment",
            "first_drop",
            "first_fitted",
            "saddle_left",
            "second_drop",
            "second_fitted",
        )
    ]
    assert np.all(np.diff(times) > 0.0)
    # Control: a margin that the proof does not admit lets the saddle end before it begins.
    wide = theory.phases(orthonormal(), -100.0, epsilon=0.9)
    assert wide.saddle_left < wide.first_fitted
    for bad in ({"log_lambda": 1.0}, {"log_lambda": -1.0, "epsilon": 1.5}):
        with pytest.raises(ValueError, match="must be"):
            theory.phases(orthonormal(), **bad)
    with pytest.raises(ValueError, match="both signs"):
        theory.phases(rf.Dataset(np.eye(2), [1.0, 2.0]), -1.0)


# Polyak-Lojasiewicz


def _gradient(net, data):
    def value(a, w):
        return jnp.mean((data.y - a @ jax.nn.relu(w @ data.x.T)) ** 2) / 2.0

    a, w = net.weights()
    return sum(float(jnp.sum(g**2)) for g in jax.grad(value, argnums=(0, 1))(a, w))


@pytest.mark.parametrize("seed", range(5))
def test_pl_at_random_networks(seed):
    """|grad L|^2 by automatic differentiation; the constants are below it, in their order."""
    data = stretched(seed)
    net = rf.balanced(jax.random.key(seed), 30, 9, -0.5)
    ratio = float(theory.pl_ratio(net, data))
    assert_close(ratio, _gradient(net, data) / float(rf.loss(net, data)), rtol=1e-11)
    constant, bound = float(theory.pl_constant(net, data)), float(theory.pl_lower_bound(net, data))
    assert 0.0 < bound < constant < ratio
    # Attained: labels whose residual is the lowest eigenvector. Control: the highest.
    _, vectors = np.linalg.eigh(theory.neural_tangent_kernel(net, data))
    least, most = (rf.Dataset(data.x, net(data.x) + vectors[:, i]) for i in (0, -1))
    assert_close(theory.pl_ratio(net, least), constant, rtol=1e-9)
    assert float(theory.pl_ratio(net, most)) > 1.5 * constant


def test_pl_near_the_minimum():
    """At the minimiser the constant is 2 min(|D+|, |D-|): twice that of Lemma 5."""
    data = orthonormal(4)
    assert np.sum(data.y > 0.0) >= 2 and np.sum(data.y < 0.0) >= 2
    net = theory.minimal_norm_network(data)
    lemma = float(theory.pl_lemma_5(data))
    assert_close(theory.pl_constant(net, data), 2.0 * lemma, rtol=1e-10)
    assert_close(theory.pl_lower_bound(net, data), 2.0 * lemma, rtol=1e-10)
    # Control: half of a neuron's square leaves less than the lemma needs.
    small = rf.Network(net.log_scale - 0.8, net.output, net.hidden)
    assert float(theory.pl_constant(small, data)) < lemma
    assert np.isnan(theory.pl_ratio(rf.Network([0.0], [1.0], [[1.0]]), rf.Dataset([[1.0]], [1.0])))


# The logistic law


def test_logistic_law():
    """A balanced neuron along D_+ (-D_-), in the flow, at times before, in and after the rise."""
    data = orthonormal()
    for sign, D in ((1, theory.D_plus(data)), (-1, theory.D_minus(data))):
        rate = float(np.linalg.norm(D))
        unit = np.asarray(sign * D) / rate
        net = rf.Network([-300.0], [float(sign)], [unit])
        times = 300.0 / rate + np.array([-2.0, 0.0, 3.0, 12.0]) / rate
        law = theory.logistic_law(times, -600.0, data, sign=sign)
        flow = [rf.flow(net, data, t, integrator=rf.Boost(), rtol=1e-10).final for t in times]
        found = [float(np.exp(2.0 * final.log_norm()[0])) for final in flow]
        assert_close(found, law, rtol=1e-8)
        assert_close(law[-1], 6.0 * rate, rtol=1e-6)
        # Control: the law without the factor 2.
        wrong = theory.logistic_law(times / 2.0, -600.0, data, sign=sign)
        assert abs(float(wrong[1] / law[1]) - 1.0) > 0.5


def test_logistic_law_needs():
    with pytest.raises(ValueError, match="length 1"):
        theory.logistic_law(1.0, -5.0, stretched())
    with pytest.raises(ValueError, match="`log_u0` must be below"):
        theory.logistic_law(1.0, 5.0, orthonormal())
    with pytest.raises(ValueError, match="`sign`"):
        theory.logistic_law(1.0, -5.0, orthonormal(), sign=2)


def test_early_directions_solve_their_equation():
    """By differences in time, between the events and beyond the last; orthogonal, any lengths."""
    data = rf.datasets.orthonormal(jax.random.key(3), 4)
    data = rf.Dataset(data.x * np.array([[1.0], [0.5], [2.0], [1.0]]), data.y)
    net = rf.balanced(jax.random.key(4), 12, 4, -1e4)
    x, y, sign = np.asarray(data.x), np.asarray(data.y), np.sign(np.asarray(net.output))
    times, step = np.linspace(0.1, 20.0, 37), 1e-5
    before, now, after = (theory.early_directions(net, data, times + d) for d in (-step, 0.0, step))
    assert_close(np.linalg.norm(now, axis=2), 1.0, rtol=1e-14)
    pull = np.where(now @ x.T > 1e-12, y, 0.0) @ x / 4.0
    along = np.sum(pull * now, axis=2, keepdims=True)
    slope = sign[:, None] * (pull - along * now)
    assert_close((after - before) / (2.0 * step), slope, atol=1e-8)
    assert np.max(np.abs(slope)) > 0.01, "nothing turns: a test of nothing"
    # In the end along the directions of the patterns, those that have one.
    toward = theory.pattern_directions(net, data)
    fits = np.linalg.norm(toward, axis=1) > 0.0
    assert 0 < fits.sum() < 12
    late = theory.early_directions(net, data, [1e4])[0]
    unit = toward[fits] / np.linalg.norm(toward[fits], axis=1, keepdims=True)
    assert_close(late[fits], unit, atol=1e-12)

"""Gradient descent against a loop in NumPy, optax with `jax.grad`, and a flow in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerance import assert_close

import reluflow as rf
from reluflow._descent import descent, gradient

SGD = optax.sgd(0.125)  # its compiled loop is kept for the object


def numpy_descent(a, w, x, y, rates):
    """The definition, one step after the other."""
    a, w, n = np.array(a), np.array(w), len(y)
    for rate in rates:
        p = w @ x.T
        residual = y - a @ np.maximum(p, 0.0)
        grad_a = -np.maximum(p, 0.0) @ residual / n
        grad_w = -a[:, None] * (((p > 0.0) * residual) @ x) / n
        a, w = a - rate * grad_a, w - rate * grad_w
    return a, w


def problem(neurons=7, log_lambda=-1.0, seed=0):
    data = rf.datasets.five_points()
    return rf.balanced(jax.random.key(seed), neurons, data.dim, log_lambda), data


def weights(net):
    return [np.asarray(leaf) for leaf in net.weights()]


def test_agrees_with_numpy():
    net, data = problem()
    sol = descent(net, data, optax.sgd(0.05), 300)
    a, w = numpy_descent(*net.weights(), np.asarray(data.x), np.asarray(data.y), [0.05] * 300)
    assert_close(sol.final.weights()[0], a, rtol=1e-12)
    assert_close(sol.final.weights()[1], w, rtol=1e-12)


@pytest.mark.parametrize("neurons", [3, 3000])  # as plain sums, and as matrix products
def test_gradient_agrees_with_autodiff(neurons):
    net, data = problem(neurons)
    a, w = net.weights()

    def loss(a, w):
        return jnp.mean((data.y - a @ jax.nn.relu(w @ data.x.T)) ** 2) / 2.0

    expected = jax.grad(loss, (0, 1))(a, w)
    for got, want in zip(gradient(a, w, data), expected, strict=True):
        assert_close(got, want, rtol=1e-11, atol=1e-13)


def test_gradient_on_a_boundary_takes_slope_zero():
    data = rf.Dataset([[1.0, 0.0]], [1.0])
    grad_a, grad_w = gradient(jnp.array([1.0]), jnp.array([[0.0, 1.0]]), data)
    assert not grad_a.any() and not grad_w.any()


def test_first_order_to_the_logistic():
    """One aligned balanced neuron, x = y = n = 1: u = a^2 obeys u' = 2 (1 - u) u."""
    start, t = 0.01, 3.0
    exact = 1.0 / (1.0 + (1.0 / start - 1.0) * np.exp(-2.0 * t))
    size = np.sqrt(start)
    net, data = rf.Network.from_weights([size], [[size]]), rf.Dataset([[1.0]], [1.0])
    errors = []
    for steps in (300, 600, 1200):
        sol = descent(net, data, optax.sgd(t / steps), steps)
        assert_close(sol.ts[-1], t, rtol=1e-14)
        errors.append(float(sol.final.squared_norm()) / 2.0 - exact)
    ratios = np.divide(errors[:-1], errors[1:])
    assert_close(ratios, 2.0, atol=0.05)


@pytest.mark.parametrize(
    ("save_every", "saved"), [(None, [0, 10]), (5, [0, 5, 10]), (4, [0, 4, 8, 10]), (99, [0, 10])]
)
def test_saves(save_every, saved):
    net, data = problem()
    sol = descent(net, data, SGD, 10, save_every=save_every)
    np.testing.assert_array_equal(sol.ts, 0.125 * np.array(saved))
    assert_close(sol.losses, rf.loss(sol.networks, data), rtol=1e-14)
    for place, steps in enumerate(saved[1:], start=1):
        alone = descent(net, data, SGD, steps)
        assert_close(
            sol.networks.weights()[1][place], alone.final.weights()[1], rtol=1e-13, atol=1e-15
        )
    assert_close(weights(sol.final)[0], weights(sol.networks)[0][-1])
    assert_close(weights(sol.networks)[0][0], weights(net)[0], rtol=1e-15)


def test_the_clock_of_a_schedule_is_the_sum_of_its_rates():
    net, data = problem()
    rates = 0.1 / (1.0 + np.arange(100.0))

    def schedule(count):  # optax's own evaluate in single precision
        return 0.1 / (1.0 + jnp.asarray(count, jnp.float64))

    sol = descent(net, data, optax.sgd(schedule), 100, save_every=10)
    expected = np.concatenate([[0.0], np.cumsum(rates)[9::10]])
    assert_close(sol.ts, expected, rtol=1e-12)
    a, _ = numpy_descent(*net.weights(), np.asarray(data.x), np.asarray(data.y), rates)
    assert_close(sol.final.weights()[0], a, rtol=1e-11)


@pytest.mark.parametrize(
    "optimiser", [optax.adam(1e-2), optax.adamw(1e-2), optax.sgd(1e-2, momentum=0.9), optax.lbfgs()]
)
def test_other_optimisers_are_those_of_optax(optimiser):
    net, data = problem()
    sol = descent(net, data, optimiser, 20, save_every=10)

    def value(theta):
        return rf.loss(rf.Network(jnp.zeros_like(theta[0]), *theta), data)

    @jax.jit
    def update(theta, state):
        now, grad = jax.value_and_grad(value)(theta)
        step, state = optax.with_extra_args_support(optimiser).update(
            grad, state, theta, value=now, grad=grad, value_fn=value
        )
        return optax.apply_updates(theta, step), state

    theta = net.weights()
    state = optimiser.init(theta)
    for _ in range(20):
        theta, state = update(theta, state)
    assert_close(sol.final.weights()[1], theta[1], rtol=1e-7, atol=1e-9)
    assert np.all(np.diff(sol.ts) > 0.0)


def test_counts():
    net, data = problem()
    sol = descent(net, data, optax.sgd(0.01), 50)
    stats = {name: np.asarray(value).item() for name, value in sol.stats.items()}
    assert stats["num_steps"] == stats["num_accepted_steps"] == 50
    assert stats["num_field_evaluations"] == 50
    assert stats["num_rejected_steps"] == stats["num_events"] == 0
    assert stats["t_final"] == 0.5 and stats["loss_final"] == float(sol.losses[-1])
    assert "successful" in str(sol)


def test_divergence_has_its_code_and_keeps_what_was_finite():
    # Active on one of the two inputs, wherever it jumps to: it cannot die instead.
    net, data = rf.Network.from_weights([1.0], [[1.0]]), rf.Dataset([[1.0], [-1.0]], [30.0, 30.0])
    sol = descent(net, data, optax.sgd(1.0), 40, save_every=1, throw=False)
    assert bool(sol.result == rf.RESULTS.diverged)
    good = np.isfinite(sol.ts)
    last = int(good.sum()) - 1
    assert 1 <= last < 40 and np.array_equal(good, np.arange(41) <= last)
    assert np.all(np.isfinite(sol.losses[good])) and np.all(np.isinf(sol.losses[~good]))
    assert np.all(np.isfinite(sol.networks.hidden)) and np.all(np.isfinite(sol.final.hidden))
    assert float(sol.stats["t_final"]) == last
    with pytest.raises(RuntimeError, match="step of the descent is too large"):
        descent(net, data, optax.sgd(1.0), 40)
    assert bool(descent(net, data, optax.sgd(1e-3), 40).result == rf.RESULTS.successful)


def test_vmap_over_seeds_and_a_lane_that_diverges():
    data = rf.datasets.five_points()
    optimiser = optax.sgd(0.1)

    def run(key, log_lambda):
        net = rf.balanced(key, 5, data.dim, log_lambda)
        return descent(net, data, optimiser, 60, save_every=20, throw=False)

    keys, log_lambdas = jax.random.split(jax.random.key(3), 3), jnp.array([-2.0, 4.0, -1.0])
    lanes = jax.vmap(run)(keys, log_lambdas)
    for lane in range(3):
        alone = run(keys[lane], log_lambdas[lane])
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(lanes), strict=True):
            if one.size:  # a descent has no events
                assert_close(np.asarray(many)[lane], one, rtol=1e-10, atol=1e-13)
    assert np.asarray(lanes.result == rf.RESULTS.diverged).tolist() == [False, True, False]


def test_under_jit():
    net, data = problem()
    optimiser = optax.sgd(0.1)
    inside = jax.jit(lambda net, data: descent(net, data, optimiser, 30).final)(net, data)
    outside = descent(net, data, optimiser, 30).final
    assert_close(weights(inside)[1], weights(outside)[1], rtol=1e-13)


def test_weights_too_small_for_plain_numbers():
    net, data = problem(log_lambda=-1000.0)
    with pytest.raises(ValueError, match=r"Argument `net`.*rf\.flow"):
        descent(net, data, optax.sgd(0.1), 10)
    with pytest.raises(RuntimeError, match=r"Argument `net`.*rf\.flow"):
        jax.jit(lambda net: descent(net, data, optax.sgd(0.1), 10))(net)
    zero = rf.Network.from_weights([0.0, 1.0], [[0.0, 0.0], [1.0, 0.0]])
    assert np.all(weights(descent(zero, data, optax.sgd(0.1), 10).final)[1][0] == 0.0)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "`steps`"),
        ({"steps": 1.5}, ValueError, "`steps`"),
        ({"steps": True}, ValueError, "`steps`"),
        ({"save_every": 0}, ValueError, "`save_every`"),
        ({"optimiser": 1e-3}, TypeError, "`optimiser`"),
    ],
)
def test_wrong_arguments(changes, error, message):
    net, data = problem()
    arguments = {"optimiser": optax.sgd(0.1), "steps": 5} | changes
    with pytest.raises(error, match=message):
        descent(net, data, **arguments)


@pytest.mark.parametrize(
    "arrays", [([0.0], [1.0], [[1.0, 2.0, 3.0]]), ([[0.0]], [[1.0]], [[[1.0, 2.0]]])]
)
def test_wrong_networks(arrays):
    _, data = problem()
    with pytest.raises(ValueError, match="`net`"):
        descent(rf.Network(*arrays), data, optax.sgd(0.1), 5)

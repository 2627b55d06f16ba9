"""Activations of two slopes: the reference, symmetries, closed forms, gradient descent.

With slopes that are traced, so that one program serves all of them.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from leaky_flow import leaky_flow
from problems import BOTH, event_list, logistic
from reference import reference_flow
from search_problems import FLAT
from tolerance import assert_close

import reluflow as rf

SAMPLES, DIM, NEURONS = FLAT
RTOL, T1 = 1e-9, 8.0
SLOPES = [(0.3, 1.0), (-1.0, 1.0), (0.0, 1.0), (-0.4, 1.2), (1.0, 1.0), (0.9, 0.2)]


@functools.cache
def _traced(integrator):
    def solve(integrator, net, x, y, weights, t1):
        data = rf.Dataset(x, y, weights)
        return rf.flow(net, data, t1, rtol=RTOL, integrator=integrator, throw=False)

    return eqx.filter_jit(functools.partial(solve, integrator))


def flow(integrator, start, slopes, x, y, weights=None, t1=T1):
    net = rf.Network.from_weights(*start, rf.TwoSlope(*map(jnp.asarray, slopes)))
    weights = np.ones(len(y)) if weights is None else weights
    arrays = (jnp.asarray(part) for part in (x, y, weights, t1))
    return _traced(integrator)(net, *arrays)


def draw(seed):
    """(a, w), x, y, omega; every fourth with an opposite input, every third with weights of one."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(SAMPLES, DIM)), rng.normal(size=SAMPLES)
    if seed % 4 == 0:
        x[1] = -1.3 * x[0]
    weights = rng.uniform(0.2, 2.0, SAMPLES) if seed % 3 else np.ones(SAMPLES)
    scale = 0.4
    start = scale * rng.normal(size=NEURONS), scale * rng.normal(size=(NEURONS, DIM))
    return start, x, y, weights


def rows(sol):
    a, w = sol.final.weights()
    return np.concatenate([np.asarray(a)[:, None], np.asarray(w)], axis=1)


def rows_of(reference):
    scale = np.exp(reference.final.log_scale)[:, None]
    return scale * np.concatenate([reference.final.a[:, None], reference.final.w], axis=1)


def succeeded(sol):
    return bool(sol.result == rf.RESULTS.successful)


@BOTH
def test_against_the_reference(integrator):
    slides = events = 0
    for seed in range(18):
        start, x, y, weights = draw(seed)
        slopes = SLOPES[seed % len(SLOPES)]
        sol = flow(integrator, start, slopes, x, y, weights)
        model = {"slopes": slopes, "weights": weights}
        right = reference_flow(x, y, *start, np.zeros(NEURONS), T1, **model)
        assert succeeded(sol) and not right.ambiguous, seed
        assert_close(rows(sol), rows_of(right), atol=1e-8)
        assert_close(sol.stats["loss_final"], right.final_loss, rtol=1e-7, atol=1e-12)
        if slopes[0] == slopes[1]:  # the reference tells of a boundary that nobody notices
            assert int(sol.events.count) == 0
            continue
        assert int(sol.events.count) == len(right.times)
        if len(right.times) == 0:
            continue
        assert [e[1:] for e in event_list(sol)] == [
            tuple(e)
            for e in zip(right.neurons, right.samples, right.before, right.after, strict=True)
        ]
        assert_close([e[0] for e in event_list(sol)], right.times, atol=1e-7)
        events, slides = events + len(right.times), slides + int(np.sum(right.after == 2))
    assert events > 40 and slides > 10
    # Control: a slope off by a thousandth is seen.
    start, x, y, weights = draw(0)
    other = flow(integrator, start, (0.301, 1.0), x, y, weights)
    model = {"slopes": (0.3, 1.0), "weights": weights}
    right = reference_flow(x, y, *start, np.zeros(NEURONS), T1, **model)
    assert np.max(np.abs(rows(other) - rows_of(right))) > 1e-5


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_hidden_weights_and_slopes_turned_round(integrator, seed):
    """phi(p) with w is phi'(p) = phi(-p) with -w: slopes (b, c) become (-c, -b)."""
    (a, w), x, y, weights = draw(seed)
    one = flow(integrator, (a, w), (0.3, 1.0), x, y, weights)
    other = flow(integrator, (a, -w), (-1.0, -0.3), x, y, weights)
    assert succeeded(one) and succeeded(other)
    assert int(one.events.count) == int(other.events.count) > 0
    sign = np.array([1.0, *[-1.0] * DIM])
    assert_close(rows(one), sign * rows(other), atol=1e-7)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_slopes_of_relu_are_relu(integrator, seed):
    """rf.relu is another program, in which the negative side does not exist."""
    start, x, y, _ = draw(seed)
    sol = flow(integrator, start, (0.0, 1.0), x, y)
    data = rf.Dataset(x, y)
    relu = rf.flow(rf.Network.from_weights(*start), data, T1, rtol=RTOL, integrator=integrator)
    assert_close(rows(sol), rows(relu), atol=1e-8)
    assert [e[1:] for e in event_list(sol)] == [e[1:] for e in event_list(relu)]
    assert int(relu.events.count) > 0


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_absolute_value_is_relu_on_inputs_of_both_signs(integrator, seed):
    """|p| = relu(p) + relu(-p): data with every -x added and the label of x, neurons in pairs
    (a, w), (a, -w), each with half of the gradient under 1/(2n), in doubled time."""
    (a, w), x, y, _ = draw(2 * seed + 1)
    sol = flow(integrator, (a, w), (-1.0, 1.0), x, y)
    pairs = rf.Network.from_weights(np.concatenate([a, a]), np.concatenate([w, -w]))
    both = rf.Dataset(np.concatenate([x, -x]), np.concatenate([y, y]))
    # (The oracle, which either integrator could be.)
    right = rf.flow(pairs, both, 2.0 * T1, rtol=RTOL, integrator=rf.RungeKutta())
    assert_close(rows(sol), rows(right)[:NEURONS], atol=1e-7)
    fixed = rf.flow(
        rf.Network.from_weights(a, w, rf.absolute),
        rf.Dataset(x, y),
        T1,
        rtol=RTOL,
        integrator=rf.RungeKutta(),
    )
    assert_close(rows(fixed), rows(right)[:NEURONS], atol=1e-7)


@BOTH
def test_a_linear_network_on_one_line_is_logistic(integrator):
    """Inputs c_k e and one balanced neuron along e: with H = a <w, e>,
    H' = 2 H / n (sum c y - sum c^2 H); and w crosses every boundary without an event."""
    c, y = np.array([1.0, -0.5, 2.0, 0.7, -1.2]), np.array([0.4, 0.3, 1.1, -0.2, -0.5])
    e = np.array([0.6, 0.8])
    a, w = np.zeros(NEURONS), np.zeros((NEURONS, DIM))
    a[0], w[0] = 0.1, 0.1 * e
    # Beside it one at right angles, whose output crosses 0 and which sees nothing.
    w[1] = [0.8, -0.6]
    sol = flow(integrator, (a, w), (1.0, 1.0), c[:, None] * e, y)
    end = np.sum(c * y) / np.sum(c**2)
    right = logistic(0.01, end, 2.0 * np.sum(c**2) / SAMPLES, T1)
    assert_close(rows(sol)[0], np.sqrt(right) * np.array([1.0, *e]), rtol=1e-8)
    assert_close(rows(sol)[1], np.array([0.0, *w[1]]), atol=1e-12)
    assert int(sol.events.count) == 0
    assert "leaky" not in str(rf.linear) and str(rf.linear) == "rf.linear"


@BOTH
def test_a_flow_of_leaky_neurons_by_another_method(integrator):
    """On orthonormal inputs, from e^-10: DOP853 of scipy, begun anew at every kink."""
    data = rf.datasets.orthonormal(jax.random.key(1), SAMPLES)
    net = rf.balanced(jax.random.key(2), 6, SAMPLES, -10.0, activation=rf.leaky_relu(0.5))
    x, y = np.asarray(data.x), np.asarray(data.y)
    a, w = (np.asarray(part) for part in net.weights())
    right = leaky_flow(a, w @ x.T, y, 0.5, 3000.0)
    sol = rf.flow(net, data, jnp.inf, rtol=1e-9, integrator=integrator)
    assert bool(sol.result == rf.RESULTS.rest_reached) and right.left < 1e-18
    assert_close(sol.final.squared_norm(), right.squared_norm, rtol=1e-8)


@BOTH
def test_descent_is_of_first_order(integrator):
    start, x, y, weights = draw(5)
    right, errors = flow(integrator, start, (-0.4, 1.2), x, y, weights, t1=4.0), []
    data = rf.Dataset(x, y, weights)
    net = rf.Network.from_weights(*start, rf.TwoSlope(-0.4, 1.2))
    for steps in (4000, 8000):
        near = rf.descent(net, data, optax.sgd(4.0 / steps), steps)
        errors.append(np.max(np.abs(rows(near) - rows(right))))
    assert 1.9 < errors[0] / errors[1] < 2.1 and errors[1] < 1e-2


def test_a_batch_over_slopes_is_one_program():
    """Each lane is the flow of its slope."""
    start, x, y, _ = draw(3)
    data = rf.Dataset(x, y)

    def end(slope):
        net = rf.Network.from_weights(*start, rf.leaky_relu(slope))
        sol = rf.flow(net, data, T1, rtol=RTOL, integrator=rf.RungeKutta(), throw=False)
        return sol.final

    slopes = jnp.linspace(-1.0, 1.0, 5)
    lanes = jax.jit(jax.vmap(end))(slopes)
    assert lanes.activation.slopes()[0].shape == (5,)
    for i, slope in enumerate(slopes):
        one = flow(rf.RungeKutta(), start, (slope, 1.0), x, y)
        a, w = jax.tree.map(lambda leaf, i=i: leaf[i], lanes).weights()
        assert_close(np.column_stack([a, w]), rows(one), atol=1e-8)


@pytest.mark.slow  # the derivative of rf.Boost is compiled for it
def test_the_derivative_by_the_slope():
    start, x, y, _ = draw(1)
    data = rf.Dataset(x, y)

    def end(slope):
        net = rf.Network.from_weights(*start, rf.leaky_relu(slope))
        return rf.flow(net, data, T1, rtol=1e-10).final.weights()

    _, tangents = jax.jvp(end, (0.3,), (1.0,))
    step = 1e-5
    ahead, behind = end(0.3 + step), end(0.3 - step)
    for tangent, after, before in zip(tangents, ahead, behind, strict=True):
        assert_close(tangent, (after - before) / (2.0 * step), atol=1e-6, rtol=1e-5)


def test_draws_do_not_depend_on_the_activation():
    for make in (rf.balanced, rf.unbalanced):
        one = make(jax.random.key(0), 4, 3, -2.0)
        other = make(jax.random.key(0), 4, 3, -2.0, activation=rf.leaky_relu(0.1))
        np.testing.assert_array_equal(one.hidden, other.hidden)
        assert str(one.activation) == "rf.relu"
        assert str(other.activation) == "rf.TwoSlope(0.1, 1)"
    net = rf.he_uniform(jax.random.key(0), 4, 3, active=2, activation=rf.absolute)
    assert "rf.absolute" in str(net)


def test_the_function_of_a_network():
    x = np.array([[1.0, 0.0], [-2.0, 1.0]])
    a, w = np.array([2.0, -1.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for activation, phi in (
        (rf.relu, lambda p: np.maximum(p, 0.0)),
        (rf.leaky_relu(0.1), lambda p: np.where(p > 0.0, p, 0.1 * p)),
        (rf.absolute, np.abs),
        (rf.linear, lambda p: p),
        (rf.TwoSlope(2.0, -3.0), lambda p: np.where(p > 0.0, -3.0 * p, 2.0 * p)),
    ):
        net = rf.Network.from_weights(a, w, activation)
        assert_close(net(x), a @ phi(w @ x.T), rtol=1e-15)
        # Of several networks, each with a slope of its own or all with one.
        several = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), net)
        assert_close(several(x), np.stack([net(x), net(x)]), rtol=0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rf.leaky_relu(np.nan), "`slope` must be finite|`minus` must be finite"),
        (lambda: rf.TwoSlope(np.zeros(2), 1.0), "must have one shape"),
        (lambda: rf.Network(np.zeros(2), np.ones(2), np.ones((2, 2)), "relu"), "`activation`"),
    ],
)
def test_bad_activations(make, message, without_type_checks):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_what_is_proved_for_relu_is_refused_for_others():
    data = rf.datasets.two_points()
    leaky = rf.balanced(jax.random.key(0), 4, 2, -2.0, activation=rf.leaky_relu(0.1))
    with pytest.raises(ValueError, match=r"`net` must have the activation rf.relu"):
        rf.theory.neural_tangent_kernel(leaky, data)
    weighted = rf.Dataset(data.x, data.y, [1.0, 2.0])
    with pytest.raises(ValueError, match="`data` must have no weights"):
        rf.theory.neural_tangent_kernel(leaky.with_activation(rf.relu), weighted)


@BOTH
def test_slopes_of_opposite_signs_slide_on_orthogonal_inputs(integrator):
    """There a unit of ReLU, pulled from one side alone, comes to rest; one of |p| slides."""
    rng = np.random.default_rng(3)
    x, y = np.eye(3), np.array([-1.0, 1.0, -0.7])
    a, w = np.array([0.5, -0.3]), 0.4 * rng.normal(size=(2, 3))
    data, net = rf.Dataset(x, y), rf.Network.from_weights(a, w, rf.absolute)
    sol = rf.flow(net, data, 6.0, rtol=RTOL, integrator=integrator, throw=False)
    reference = reference_flow(x, y, a, w, np.zeros(2), 6.0, slopes=(-1.0, 1.0))
    assert sol.result == rf.RESULTS.successful
    assert sol.events.tally().get("slide", 0) > 0
    assert_close(rows(sol), rows_of(reference), atol=1e-7)
    # The control: without room for it the run says so.
    without = type(integrator)(max_sliding=0)
    stopped = rf.flow(net, data, 6.0, rtol=RTOL, integrator=without, throw=False)
    assert stopped.result == rf.RESULTS.sliding_buffer_full

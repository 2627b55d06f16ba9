"""The lazy regime: the kernel, and the flow that tends to it as its scale grows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import gaussian_data
from scipy.integrate import solve_ivp
from tolerance import assert_close

import reluflow as rf
from reluflow import theory

SCALES = np.array([3.0, 6.0, 12.0])
LAZY_TIMES = np.array([0.1, 0.3, 1.0])  # t = time / scale^2


@functools.cache
def problem(scale=1.0, pairs=True):
    """y - h(0) is the same at every scale: h(0) = 0 with neurons in pairs of opposite a_j,
    or else h(0) is added to the labels."""
    data = gaussian_data(0, 5, 3)
    if not pairs:
        net = rf.balanced(jax.random.key(1), 16, 3, np.log(scale))
        return net, rf.Dataset(data.x, data.y + net(data.x))
    half = rf.balanced(jax.random.key(1), 8, 3, np.log(scale))
    leaves = (half.log_scale, half.output, half.hidden)
    doubled = [np.concatenate([leaf, leaf]) for leaf in map(np.asarray, leaves)]
    doubled[1][8:] *= -1.0
    return rf.Network(*doubled), data


def test_the_kernel_is_the_gram_matrix_of_the_gradients():
    net, data = rf.unbalanced(jax.random.key(0), 7, 3, 0.3), gaussian_data(0, 5, 3)

    def predictions(weights):
        a, w = weights
        return a @ jax.nn.relu(w @ data.x.T)

    jacobian = jax.jacobian(predictions)(net.weights())
    flat = np.concatenate([np.asarray(leaf).reshape(5, -1) for leaf in jacobian], axis=1)
    kernel = theory.neural_tangent_kernel(net, data)
    assert_close(kernel, flat @ flat.T / 5.0, rtol=1e-12, atol=1e-14)
    # Control: the part of the hidden weights alone is another matrix.
    inner = np.asarray(jacobian[1]).reshape(5, -1)
    assert np.max(np.abs(kernel - inner @ inner.T / 5.0)) > 0.1


def test_units_at_rest_are_inactive_whatever_the_sign_of_their_rounding():
    x = np.linalg.qr(np.asarray(jax.random.normal(jax.random.key(0), (6, 6))))[0]
    data = rf.Dataset(x, np.ones(6))
    # Along x_0, so that the others are on the boundary, by rounding on both sides of it.
    net = rf.Network(np.zeros(1), np.ones(1), x[:1])
    rounded = np.asarray(net.preactivations(x))[0, 1:]
    assert np.any(rounded > 0.0), "the case is not the one that was meant"
    kernel = np.asarray(theory.neural_tangent_kernel(net, data))
    assert np.all(np.diag(kernel)[1:] < 1e-20)
    assert kernel[0, 0] > 0.3


def test_the_closed_form_solves_its_equation():
    """r' = -K r from h(0), by scipy."""
    net, data = rf.balanced(jax.random.key(0), 7, 3, 0.3), gaussian_data(0, 5, 3)
    lazy = theory.kernel_flow(net, data)
    kernel, y = np.asarray(theory.neural_tangent_kernel(net, data)), np.asarray(data.y)
    solved = solve_ivp(
        lambda t, h: kernel @ (y - h),
        (0.0, 2.0),
        np.asarray(net(data.x)),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        t_eval=[0.0, 0.5, 2.0],
    )
    times = np.array([0.0, 0.5, 2.0])
    assert_close(lazy.predictions(times), solved.y.T, atol=1e-10)
    losses = np.mean((solved.y.T - y) ** 2, axis=1) / 2.0
    assert_close(lazy.loss(times), losses, rtol=1e-8)
    assert_close(lazy.loss(0.0), rf.loss(net, data), rtol=1e-12)


def test_samples_that_no_neuron_sees_stay():
    data = rf.Dataset(np.eye(3), [1.0, -2.0, 3.0])
    net = rf.Network([0.0], [1.0], [[1.0, 1.0, -1.0]])
    assert_close(theory.kernel_flow(net, data).predictions(np.inf), [1.0, -2.0, 0.0], atol=1e-14)


def _predictions(net, data, t):
    return rf.flow(net, data, t, integrator=rf.RungeKutta(), rtol=1e-12).final(data.x)


def _distance(scale, pairs):
    net, data = problem(scale, pairs)
    times = LAZY_TIMES / scale**2
    flow = np.stack([_predictions(net, data, t) for t in times])
    return np.max(np.abs(flow - theory.kernel_flow(net, data).predictions(times)))


@pytest.mark.parametrize(("pairs", "order"), [(False, 2.0), (True, 4.0)])
def test_the_flow_tends_to_it_as_the_scale_grows(pairs, order):
    """And from a small initialisation it is far from the flow, the control."""
    distance = np.array([_distance(scale, pairs) for scale in SCALES])
    slopes = np.diff(np.log(distance)) / np.diff(np.log(SCALES))
    assert_close(slopes, -order, atol=0.15)
    assert distance[-1] < 1e-3 and _distance(0.3, pairs) > 0.3


@pytest.mark.parametrize("bad", ["later"])
def test_times_must_be_numbers(bad):
    with pytest.raises(TypeError, match="`t`"):
        theory.kernel_flow(*problem()).predictions(bad)


def test_under_transformations():
    net, data = problem()
    lanes = jax.vmap(lambda y: theory.kernel_flow(net, rf.Dataset(data.x, y)).loss(1.0))
    labels = jnp.stack([data.y, 2.0 * data.y])
    losses = jax.jit(lanes)(labels)
    assert_close(losses[1], 4.0 * losses[0], rtol=1e-12)

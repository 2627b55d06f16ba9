"""What the flow conserves, what it only lowers, and the symmetries that it has."""

import functools

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import event_list, five_points, relative_difference, small, two_points

import reluflow as rf

GAUSS = np.polynomial.legendre.leggauss(12)


def plain(integrator=None):
    return rf.RungeKutta(max_sliding=3) if integrator is None else integrator


@pytest.mark.parametrize("kind", ["two points", "five points", "balanced", "unbalanced"])
def test_balance_drifts_less_than_1e_9_of_a_neurons_own_size(kind):
    """a_j^2 - |w_j|^2 at rtol 1e-10, over the squared norm the neuron has at the end."""
    if kind == "two points":
        (net, data), t1 = two_points(), 40.0
    elif kind == "five points":
        (net, data), t1 = five_points(), 120.0
    else:
        (net, data), t1 = small(unbalanced=kind == "unbalanced"), 30.0
    sol = rf.flow(net, data, t1, rtol=1e-10)
    end = sol.final
    grown = np.exp(2.0 * (np.asarray(end.log_scale) - np.asarray(net.log_scale)))
    before = np.asarray(net.output**2 - jnp.sum(net.hidden**2, axis=1)) / grown
    before = np.where(kind == "unbalanced", before, 0.0)  # rounding of the start, in a dying neuron
    inner = np.asarray(jnp.sum(end.hidden**2, axis=1))
    after, size = np.asarray(end.output) ** 2 - inner, np.asarray(end.output) ** 2 + inner
    assert np.max(np.abs(after - before) / size) < 1e-9


def gradient(t, net, data):
    """|grad L|^2 with alpha = 0 on boundaries: right only where nothing slides."""
    a, w = net.weights()
    p = net.preactivations(data.x) * jnp.exp(net.log_scale)[:, None]
    residual = (data.y - net(data.x)) / data.samples
    force = jnp.where(p > 1e-12, residual, 0.0) @ data.x
    return jnp.sum(jnp.sum(force * w, axis=1) ** 2) + jnp.sum((a[:, None] * force) ** 2)


def quadrature(cuts):
    """Gauss points and weights between the cuts."""
    width, middle = np.diff(cuts) / 2.0, (cuts[1:] + cuts[:-1]) / 2.0
    return (middle[:, None] + width[:, None] * GAUSS[0]).ravel(), (
        width[:, None] * GAUSS[1]
    ).ravel()


def test_energy_identity():
    """L(0) - L(T) = integral of |grad L|^2, on two points, where nothing slides."""
    net, data = two_points()
    times = np.unique([event[0] for event in event_list(rf.flow(net, data, 40.0, rtol=1e-10))])
    ts, weights = quadrature(np.concatenate([[0.0], times, np.linspace(3.0, 40.0, 60)]))
    sol = rf.flow(net, data, 40.0, rtol=1e-10, saveat=diffrax.SaveAt(ts=ts, fn=gradient))
    lost = float(rf.loss(net, data)) - float(sol.stats["loss_final"])
    np.testing.assert_allclose(weights @ np.asarray(sol.networks), lost, rtol=1e-9)
    assert lost > 0.4
    # Control: the flow of twice the gradient would lose this much in half the time.
    assert abs(2.0 * weights @ np.asarray(sol.networks) - lost) > 0.4


@pytest.mark.parametrize("problem", [two_points, five_points])
def test_the_loss_never_increases(problem):
    net, data = problem()
    ts = np.linspace(0.0, 120.0, 601)
    sol = rf.flow(net, data, 120.0, rtol=1e-8, saveat=diffrax.SaveAt(ts=ts))
    assert float(sol.losses[-1]) < 0.9 * float(sol.losses[0])
    losses = np.asarray(sol.losses)
    # The residual is known to 1e-8 of the labels: a loss below the square of that is noise.
    assert np.all(np.diff(losses) <= 1e-8 * losses[:-1])


# Symmetries, at random problems of one shape


@functools.cache
def random_problem(seed):
    net, data = small(seed % 1000, log_lambda=-1.0, unbalanced=bool(seed % 2))
    return net, data


def end(net, data, t1=4.0):
    return rf.flow(net, data, t1, rtol=1e-11, integrator=plain())


def unit_events(sol, neurons=None, samples=None):
    neurons = np.arange(6) if neurons is None else neurons
    samples = np.arange(4) if samples is None else samples
    return sorted((int(neurons[j]), int(samples[k]), b, a) for _, j, k, b, a in event_list(sol))


SEEDS = st.integers(0, 10**6)


@given(SEEDS)
def test_permuting_neurons_and_data(seed):
    net, data = random_problem(seed)
    rng = np.random.default_rng(seed)
    j, k = rng.permutation(6), rng.permutation(4)
    here = end(net, data)
    there = end(
        rf.Network(net.log_scale[j], net.output[j], net.hidden[j]), rf.Dataset(data.x[k], data.y[k])
    )
    final = here.final
    expected = rf.Network(final.log_scale[j], final.output[j], final.hidden[j])
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there, j, k) == unit_events(here)


@given(SEEDS)
def test_rotating(seed):
    net, data = random_problem(seed)
    q = jnp.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0])
    here = end(net, data)
    there = end(
        rf.Network(net.log_scale, net.output, net.hidden @ q), rf.Dataset(data.x @ q, data.y)
    )
    expected = rf.Network(here.final.log_scale, here.final.output, here.final.hidden @ q)
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there) == unit_events(here)


@given(SEEDS)
def test_changing_the_sign_of_labels_and_outputs(seed):
    net, data = random_problem(seed)
    here = end(net, data)
    there = end(rf.Network(net.log_scale, -net.output, net.hidden), rf.Dataset(data.x, -data.y))
    expected = rf.Network(here.final.log_scale, -here.final.output, here.final.hidden)
    assert relative_difference(there.final, expected) < 1e-12
    assert unit_events(there) == unit_events(here)


@given(SEEDS, st.floats(-3.0, 3.0))
def test_homogeneity(seed, log_factor):
    """y times c and theta times sqrt(c): time runs c times faster."""
    net, data = random_problem(seed)
    c = float(np.exp(log_factor))
    here = end(net, data)
    there = end(
        rf.Network(net.log_scale + log_factor / 2.0, net.output, net.hidden),
        rf.Dataset(data.x, c * data.y), 4.0 / c,
    )  # fmt: skip
    final = here.final
    expected = rf.Network(final.log_scale + log_factor / 2.0, final.output, final.hidden)
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there) == unit_events(here)


@settings(max_examples=5)
@given(SEEDS)
def test_control_what_is_no_symmetry(seed):
    """(y, a) -> (-y, a) is none: the comparison tells."""
    net, data = random_problem(seed)
    assert (
        relative_difference(end(net, rf.Dataset(data.x, -data.y)).final, end(net, data).final)
        > 1e-3
    )


@given(SEEDS)
def test_two_halves_make_a_whole(seed):
    """The flow to 2, then from 2 to 4, is the flow to 4 (while nothing slides at 2)."""
    net, data = random_problem(seed)
    middle = end(net, data, 2.0)
    resumed = rf.flow(middle.final, data, 4.0, t0=2.0, rtol=1e-11, integrator=plain())
    assert relative_difference(resumed.final, end(net, data).final) < 1e-7

"""What the flow conserves, and what it only lowers."""

import functools

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import balance, event_list, five_points, two_points
from tolerance import assert_close

import reluflow as rf

GAUSS = np.polynomial.legendre.leggauss(12)


@pytest.mark.parametrize(("problem", "t1"), [(two_points, 40.0), (five_points, 120.0)])
def test_balance_drifts_less_than_1e_9_of_a_neurons_own_size(problem, t1):
    """At rtol 1e-10; of other starts in test_symmetries.py, by the other integrator."""
    net, data = problem()
    end = rf.flow(net, data, t1, rtol=1e-10).final
    assert np.max(np.abs(balance(end, end))) < 1e-9


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
    flow = functools.partial(rf.flow, net, data, 40.0, rtol=1e-10, integrator=rf.RungeKutta())
    times = np.unique([event[0] for event in event_list(flow())])
    ts, weights = quadrature(np.concatenate([[0.0], times, np.linspace(3.0, 40.0, 60)]))
    sol = flow(saveat=diffrax.SaveAt(ts=ts, fn=gradient))
    lost = float(rf.loss(net, data)) - float(sol.stats["loss_final"])
    assert_close(weights @ np.asarray(sol.networks), lost, rtol=1e-9)
    assert lost > 0.4
    # Control: the flow of twice the gradient would lose this much in half the time.
    assert abs(2.0 * weights @ np.asarray(sol.networks) - lost) > 0.4


# At rest on two points, far below the square of its tolerance, rf.Boost is noise: see its test in
# test_analysis_invariants.py.
@pytest.mark.parametrize(
    ("problem", "integrator"), [(two_points, rf.RungeKutta()), (five_points, rf.Boost())]
)
def test_the_loss_never_increases(problem, integrator):
    net, data = problem()
    saveat = diffrax.SaveAt(ts=np.linspace(0.0, 120.0, 601))
    sol = rf.flow(net, data, 120.0, rtol=1e-8, saveat=saveat, integrator=integrator)
    assert float(sol.losses[-1]) < 0.9 * float(sol.losses[0])
    losses = np.asarray(sol.losses)
    # The residual is known to 1e-8 of the labels: a loss below the square of that is noise.
    assert np.all(np.diff(losses) <= 1e-8 * losses[:-1])

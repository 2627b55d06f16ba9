"""Gradient descent tends to the flow as its step: the error at eta is 4 times that at eta / 4."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import five_points, two_points

import reluflow as rf
from reluflow import _modes, _turning

ETA = 1e-3
TIMES = {  # before, during and after the loss drops
    "two points": (two_points, np.array([4.0, 8.0, 12.0, 16.0, 24.0, 25.0, 28.0])),
    "five points": (five_points, np.array([20.0, 40.0, 50.0, 54.0, 58.0, 68.0, 80.0])),
}


def distances(net, data, ts, eta, flow):
    """|theta_descent - theta_flow| at the times."""
    step = round(1.0 / eta)
    sol = rf.descent(net, data, optax.sgd(eta), int(ts[-1]) * step, save_every=step)
    at = np.searchsorted(np.asarray(sol.ts), ts - 0.5)
    np.testing.assert_allclose(np.asarray(sol.ts)[at], ts, rtol=1e-9)
    (a, w), (b, v) = sol.networks.weights(), flow.networks.weights()
    parts = (a[at] - b) ** 2 + jnp.sum((w[at] - v) ** 2, axis=-1)
    return np.sqrt(np.asarray(jnp.sum(parts, axis=-1)))


@pytest.mark.parametrize("name", TIMES)
def test_first_order_in_the_step(name):
    make, ts = TIMES[name]
    net, data = make()
    flow = rf.flow(net, data, ts[-1], rtol=1e-11, saveat=diffrax.SaveAt(ts=ts))
    coarse, fine = (distances(net, data, ts, eta, flow) for eta in (ETA, ETA / 4.0))
    np.testing.assert_allclose(coarse / fine, 4.0, atol=0.2)
    losses = np.asarray(flow.losses)
    assert losses[0] > 0.95 * float(rf.loss(net, data)) and losses[-1] < 0.8 * losses[0]


def without_sliding(gram, residual, sign, mode, boundary, max_sliding):
    """`settle`, but a unit that should slide rests with alpha = 0."""
    settled = _SETTLE(gram, residual, sign, mode, boundary, max_sliding)
    rest = lambda m: jnp.where(m == _modes.SLIDING, _modes.RESTING, m).astype(m.dtype)  # noqa: E731
    return settled.__class__(**{
        **vars(settled),
        "modes": rest(settled.modes),
        "mode": rest(settled.mode),
        "slots": jnp.full_like(settled.slots, gram.shape[0]),
        "response": jnp.zeros_like(settled.response),
    })  # fmt: skip


_SETTLE = _turning.settle


def test_control_without_sliding_it_fails(monkeypatch):
    """A flow that cannot slide is not the limit of the descent, or does not get there."""
    make, ts = TIMES["five points"]
    net, data = make()
    monkeypatch.setattr(_turning, "settle", without_sliding)
    jax.clear_caches()
    wrong = rf.flow(
        net, data, ts[-1], rtol=1e-8, saveat=diffrax.SaveAt(ts=ts), throw=False, max_steps=20000
    )
    monkeypatch.undo()
    jax.clear_caches()
    # Pushed back onto its boundary from either side, it gets nowhere, and says so.
    assert bool(wrong.result == rf.RESULTS.chattering)
    assert float(wrong.stats["t_final"]) < 1.0


def test_control_another_flow_is_not_the_limit():
    """Off by 1e-3 in the start: the distance no longer falls with the step."""
    make, ts = TIMES["five points"]
    net, data = make()
    other = rf.Network(net.log_scale + 1e-3, net.output, net.hidden)
    flow = rf.flow(other, data, ts[-1], rtol=1e-11, saveat=diffrax.SaveAt(ts=ts))
    coarse, fine = (distances(net, data, ts, eta, flow) for eta in (ETA, ETA / 4.0))
    assert np.all(np.abs(coarse / fine - 4.0) > 1.0)


@pytest.mark.slow
def test_gaussian_teacher_up_to_its_first_drop():
    """Thousands of sliding units. The loss is left at its first plateau around t = 143."""
    data = rf.datasets.gaussian_teacher(jax.random.key(0))
    net = rf.balanced(jax.random.key(1), 200, 150, np.log(1e-6 / np.sqrt(200 * 150)))
    first = rf.flow(net, data, 400.0, rtol=1e-6, stop_loss=0.9 * float(rf.loss(net, data)))
    drop = float(first.stats["t_final"])
    assert int(first.events.tally()["slide"]) > 1000
    ts = np.floor(np.array([0.5, 0.9, 1.0]) * drop)
    flow = rf.flow(net, data, ts[-1], rtol=1e-9, saveat=diffrax.SaveAt(ts=ts))
    coarse, fine = (distances(net, data, ts, eta, flow) for eta in (ETA, ETA / 4.0))
    np.testing.assert_allclose(coarse / fine, 4.0, atol=0.2)

"""Gradient descent tends to the flow as its step: the error at eta is 4 times that at eta / 4."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import five_points, two_points
from tolerance import assert_close

import reluflow as rf
from reluflow._events import _transition, settle
from reluflow._model import _modes

ETA = 1e-3
TIMES = {  # before, during and after the loss drops
    "two points": (two_points, np.array([4.0, 8.0, 12.0, 16.0, 24.0, 25.0, 28.0])),
    "five points": (five_points, np.array([20.0, 40.0, 50.0, 54.0, 58.0, 68.0, 80.0])),
}


def descend(net, data, end, eta):
    step = round(1.0 / eta)
    return rf.descent(net, data, optax.sgd(eta), int(end) * step, save_every=step)


@functools.cache
def descent(name, eta):
    make, ts = TIMES[name]
    return descend(*make(), ts[-1], eta)


def distances(sol, ts, flow):
    """|theta_descent - theta_flow| at the times."""
    at = np.searchsorted(np.asarray(sol.ts), ts - 0.5)
    assert_close(np.asarray(sol.ts)[at], ts, rtol=1e-9)
    (a, w), (b, v) = sol.networks.weights(), flow.networks.weights()
    parts = (a[at] - b) ** 2 + jnp.sum((w[at] - v) ** 2, axis=-1)
    return np.sqrt(np.asarray(jnp.sum(parts, axis=-1)))


# One each: other tests compare the two. Five points slide.
INTEGRATORS = {"two points": rf.RungeKutta(), "five points": rf.Boost()}


def flow_at(net, data, name):
    """The flow at the times of the problem, far more exactly than descents are."""
    ts = TIMES[name][1]
    saveat = diffrax.SaveAt(ts=ts)
    return rf.flow(net, data, ts[-1], rtol=1e-11, saveat=saveat, integrator=INTEGRATORS[name])


@pytest.mark.parametrize("name", TIMES)
def test_first_order_in_the_step(name):
    make, ts = TIMES[name]
    net, data = make()
    flow = flow_at(net, data, name)
    coarse, fine = (distances(descent(name, eta), ts, flow) for eta in (ETA, ETA / 4.0))
    assert_close(coarse / fine, 4.0, atol=0.2)
    losses = np.asarray(flow.losses)
    assert losses[0] > 0.95 * float(rf.loss(net, data)) and losses[-1] < 0.8 * losses[0]


def test_control_another_flow_is_not_the_limit():
    """Off by 1e-3 in the start: the distance no longer falls with the step."""
    name = "five points"
    make, ts = TIMES[name]
    net, data = make()
    other = rf.Network(net.log_scale + 1e-3, net.output, net.hidden)
    flow = flow_at(other, data, name)
    coarse, fine = (distances(descent(name, eta), ts, flow) for eta in (ETA, ETA / 4.0))
    assert np.all(np.abs(coarse / fine - 4.0) > 1.0)


def without_sliding(*args):
    """`settle`, but a unit that should slide rests with alpha = 0."""
    settled = settle(*args)
    mode = jnp.where(settled.mode == _modes.SLIDING, _modes.RESTING, settled.mode)
    none = jnp.full_like(settled.slots, settled.mode.shape[0]), jnp.zeros_like(settled.response)
    return eqx.tree_at(
        lambda s: (s.mode, s.slots, s.response), settled, (mode.astype(settled.mode.dtype), *none)
    )


def test_control_without_sliding_it_fails(monkeypatch):
    """A flow that cannot slide is not the limit of the descent, or does not get there.

    With a width that no other test has: the program is compiled with the fault.
    """
    make, ts = TIMES["five points"]
    net, data = make(neurons=23)
    monkeypatch.setattr(_transition, "settle", without_sliding)
    wrong = rf.flow(
        net, data, ts[-1], rtol=1e-8, integrator=rf.RungeKutta(), throw=False, max_steps=20000
    )
    # Pushed back onto its boundary from either side, it gets nowhere, and says so.
    assert bool(wrong.result == rf.RESULTS.chattering)
    assert float(wrong.stats["t_final"]) < 1.0


@pytest.mark.slow
def test_gaussian_teacher_up_to_its_first_drop():
    """Thousands of sliding units. The loss is left at its first plateau around t = 143."""
    data = rf.datasets.gaussian_teacher(jax.random.key(0))
    net = rf.balanced(jax.random.key(1), 200, 150, np.log(1e-6 / np.sqrt(200 * 150)))
    flow = functools.partial(rf.flow, net, data, integrator=rf.RungeKutta())
    first = flow(400.0, rtol=1e-6, stop_loss=0.9 * float(rf.loss(net, data)))
    drop = float(first.stats["t_final"])
    assert int(first.events.tally()["slide"]) > 1000
    ts = np.floor(np.array([0.5, 0.9, 1.0]) * drop)
    sol = flow(ts[-1], rtol=1e-9, saveat=diffrax.SaveAt(ts=ts))
    coarse, fine = (distances(descend(net, data, ts[-1], eta), ts, sol) for eta in (ETA, ETA / 4.0))
    assert_close(coarse / fine, 4.0, atol=0.2)

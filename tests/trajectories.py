"""Flows that the tests of rf.analysis share: each is integrated once, and shapes are common."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from problems import five_points, two_points

import reluflow as rf

SAVES = 1001
RATE_PLUS, RATE_MINUS = np.sqrt(5.0) / 2.0, np.sqrt(1.25) / 2.0  # |D+|, |D-| of two points


def _flow(net, data, t1, integrator=None):
    saveat = diffrax.SaveAt(ts=jnp.linspace(0.0, t1, SAVES))
    return rf.flow(net, data, t1, saveat=saveat, integrator=integrator or rf.Boost())


@functools.cache
def on_two_points(log_lambda):
    """(sol, data), to 1.25 times when the negative label is fitted."""
    net, data = two_points(log_lambda)
    return _flow(net, data, 1.25 * (8.0 - log_lambda) / RATE_MINUS), data


@functools.cache
def on_five_points():
    net, data = five_points()
    return _flow(net, data, 700.0), data


@functools.cache
def lazy():
    """2022, Fig. 5: initialised at scale 10."""
    net, data = five_points(np.log(10.0 / np.sqrt(120.0)))
    return _flow(net, data, 40.0), data


@functools.cache
def on_orthonormal(seed):
    """Six neurons on six orthonormal samples: four standstills for seed 6, three for seed 4."""
    data = rf.datasets.orthonormal(jax.random.key(seed), 6)
    net = rf.balanced(jax.random.key(seed + 20), 6, 6, -60.0)
    return _flow(net, data, 2000.0, rf.RungeKutta()), data  # which compiles faster


@functools.cache
def on_gaussian(seed):
    """Six samples in four dimensions, which slide."""
    data = gaussian_samples(seed)
    net = rf.balanced(jax.random.key(seed + 50), 12, 4, -30.0)
    return _flow(net, data, 400.0, rf.RungeKutta()), data


def gaussian_samples(seed):
    x_key, y_key = jax.random.split(jax.random.key(seed))
    return rf.Dataset(jax.random.normal(x_key, (6, 4)), jax.random.normal(y_key, (6,)))


def in_other_units(sol, data, factor):
    """The flow for labels c y: theta is sqrt(c) times as large, and all goes c times faster."""
    nets, events = sol.networks, sol.events
    scaled = eqx.tree_at(
        lambda s: (s.ts, s.losses, s.networks.log_scale, s.events.time),
        sol,
        (
            sol.ts / factor,
            sol.losses * factor**2,
            nets.log_scale + np.log(factor) / 2.0,
            events.time / factor,
        ),
    )
    return scaled, rf.Dataset(data.x, factor * data.y)


def weights(sol):
    """a (time, neurons) and w (time, neurons, dim), as NumPy arrays."""
    return tuple(map(np.asarray, sol.networks.weights()))

"""Initialisations at scale lambda, given by its logarithm: e^-10000 is a value like others."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._support._checks import (
    as_float64,
    check_finite,
    check_key,
    check_memory,
    check_ndim,
    check_positive_int,
    is_concrete,
    require_x64,
    shortened,
)
from ._activation import AbstractActivation, relu
from ._network import Network
from ._shapes import Key

# Of log_lambda. Above, the square of lambda, which every output has as a factor, is infinite in
# float64. Below, the logarithm itself is rounded by 1e-7, so that sizes are no longer known.
LARGEST_LOG_LAMBDA, SMALLEST_LOG_LAMBDA = 354.89, -1e9


def _check_shape(key: Key, neurons: int, dim: int) -> None:
    require_x64()
    check_key("key", key)
    check_positive_int("neurons", neurons)
    check_positive_int("dim", dim)
    check_memory("neurons", 8 * neurons * (dim + 2), f"a network of {neurons} neurons")


def _log_lambda(log_lambda, neurons: int) -> jax.Array:
    log_lambda = as_float64("log_lambda", log_lambda)
    check_ndim("log_lambda", log_lambda, ())
    check_finite("log_lambda", log_lambda)
    low, high = SMALLEST_LOG_LAMBDA, LARGEST_LOG_LAMBDA
    if is_concrete(log_lambda) and not low <= float(log_lambda) <= high:
        raise ValueError(
            f"Argument `log_lambda` must lie in [{low:g}, {high}], but it is "
            f"{float(log_lambda)}. Above, the square of lambda is infinite in float64; below, the "
            "logarithm itself is rounded by more than 1e-7."
        )
    return jnp.full((neurons,), log_lambda)


def _count(active, neurons: int) -> jax.Array:
    """`active` as an integer scalar, checked as far as it can be looked at."""
    if not is_concrete(active):
        if jnp.ndim(active) or not jnp.issubdtype(active.dtype, jnp.integer):
            raise TypeError(
                "Argument `active` must be an integer, but it is traced with dtype "
                f"{active.dtype} and shape {active.shape}."
            )
        return active
    known = np.asarray(active)
    if known.ndim or not np.issubdtype(known.dtype, np.integer) or not 1 <= known <= neurons:
        raise ValueError(
            f"Argument `active` must be an integer from 1 to `neurons` ({neurons}), but it is "
            f"{shortened(active)}."
        )
    return jnp.asarray(known)


def _without_inactive(net: Network, active) -> Network:
    """`net`, in which the neurons from the number `active` on are zero, and so stay zero.

    Both velocities of a neuron with a = 0 and w = 0 vanish, a' = <D, w> and w' = a D. What the
    others drew is what a narrow network draws: since jax 0.5, whose draws are partitionable, an
    entry of a draw depends on its place and not on the shape (jax_threefry_partitionable; with that
    switched off, every width draws differently).
    """
    if active is None:
        return net
    on = jnp.arange(net.neurons) < _count(active, net.neurons)
    output = jnp.where(on, net.output, 0.0)
    hidden = jnp.where(on[:, None], net.hidden, 0.0)
    return Network(net.log_scale, output, hidden, net.activation)


def balanced(
    key: Key,
    neurons: int,
    dim: int,
    log_lambda,
    *,
    active=None,
    activation: AbstractActivation = relu,
) -> Network:
    """w_j = lambda g_j,  a_j = s_j |w_j|,  g_j ~ N(0, I_d), s_j = +-1 (2022, eq. 4).

    Arguments:
        key: a JAX random key.
        neurons, dim: m and d.
        log_lambda: ln(lambda), natural, in [-1e9, 354.89]; may be traced (one compilation serves
            all).
        active: how many of the neurons there are, from 1 to `neurons`; the others have weights of
            exactly 0, and keep them. May be traced: one compilation then serves all widths. The
            active ones are those of the network of this width with the same key. A traced number
            cannot be looked at: above `neurons` it counts as all, below 1 as none. The inactive
            ones have no events.
        activation: of the network; the draw does not depend on it.
    """
    _check_shape(key, neurons, dim)
    log_scale = _log_lambda(log_lambda, neurons)
    g_key, s_key = jr.split(key)
    hidden = jr.normal(g_key, (neurons, dim), jnp.float64)
    sign = jr.rademacher(s_key, (neurons,), jnp.float64)
    output = sign * jnp.linalg.norm(hidden, axis=1)
    return _without_inactive(Network(log_scale, output, hidden, activation), active)


def unbalanced(
    key: Key,
    neurons: int,
    dim: int,
    log_lambda,
    *,
    active=None,
    activation: AbstractActivation = relu,
) -> Network:
    """w_j = lambda g_j,  a_j = lambda b_j,  g_j ~ N(0, I_d), b_j ~ N(0, 1) (2022, section 3.2).

    Where |a_j| < |w_j| the sign of a_j may change along the flow (Lemma 1 excludes it only for
    balanced or dominated neurons). The arguments are those of `rf.balanced`.
    """
    _check_shape(key, neurons, dim)
    log_scale = _log_lambda(log_lambda, neurons)
    g_key, b_key = jr.split(key)
    hidden = jr.normal(g_key, (neurons, dim), jnp.float64)
    output = jr.normal(b_key, (neurons,), jnp.float64)
    net = Network(log_scale, output, hidden, activation)
    return _without_inactive(net, active)


def he_uniform(
    key: Key, neurons: int, dim: int, *, active=None, activation: AbstractActivation = relu
) -> Network:
    """w ~ U(+-sqrt(6 / d)) per entry and a ~ U(+-sqrt(6 / m)) (He et al. 2015; 2026, Fig. 6).

    PyTorch's default for linear layers, U(+-1 / sqrt(fan_in)), is smaller by sqrt(6).
    With `active`, as in `rf.balanced`, m is the number of active neurons.
    """
    _check_shape(key, neurons, dim)
    w_key, a_key = jr.split(key)
    w_bound, a_bound = np.sqrt(6.0 / dim), np.sqrt(6.0 / neurons)
    if active is not None:
        a_bound = jnp.sqrt(6.0 / _count(active, neurons).astype(jnp.float64))
    w = jr.uniform(w_key, (neurons, dim), jnp.float64, -w_bound, w_bound)
    a = jr.uniform(a_key, (neurons,), jnp.float64, -a_bound, a_bound)
    net = Network(jnp.zeros((neurons,), jnp.float64), a, w, activation)
    return _without_inactive(net, active)

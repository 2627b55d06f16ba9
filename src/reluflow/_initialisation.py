"""Initialisations at scale lambda, given by its logarithm: e^-10000 is a value like others."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._checks import (
    as_float64,
    check_finite,
    check_key,
    check_memory,
    check_ndim,
    check_positive_int,
    is_concrete,
    require_x64,
)
from ._network import Network
from ._shapes import Key

# Of log_lambda. Above, the square of lambda, which every output has as a factor, is infinite in
# float64. Below, the logarithm itself is rounded by 1e-7, so that sizes are no longer known.
_LARGEST, _SMALLEST = 354.89, -1e9


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
    if is_concrete(log_lambda) and not _SMALLEST <= float(log_lambda) <= _LARGEST:
        raise ValueError(
            f"Argument `log_lambda` must lie in [{_SMALLEST:g}, {_LARGEST}], but it is "
            f"{float(log_lambda)}. Above, the square of lambda is infinite in float64; below, the "
            "logarithm itself is rounded by more than 1e-7."
        )
    return jnp.full((neurons,), log_lambda)


def balanced(key: Key, neurons: int, dim: int, log_lambda) -> Network:
    """w_j = lambda g_j,  a_j = s_j |w_j|,  g_j ~ N(0, I_d), s_j = +-1 (2022, eq. 4).

    Arguments:
        key: a JAX random key.
        neurons, dim: m and d.
        log_lambda: ln(lambda), natural, in [-1e9, 354.89]; may be traced (one compilation serves
            all).
    """
    _check_shape(key, neurons, dim)
    log_scale = _log_lambda(log_lambda, neurons)
    g_key, s_key = jr.split(key)
    hidden = jr.normal(g_key, (neurons, dim), jnp.float64)
    sign = jr.rademacher(s_key, (neurons,), jnp.float64)
    output = sign * jnp.linalg.norm(hidden, axis=1)
    return Network(log_scale, output, hidden)


def unbalanced(key: Key, neurons: int, dim: int, log_lambda) -> Network:
    """w_j = lambda g_j,  a_j = lambda b_j,  g_j ~ N(0, I_d), b_j ~ N(0, 1) (2022, section 3.2).

    Where |a_j| < |w_j| the sign of a_j may change along the flow (Lemma 1 excludes it only for
    balanced or dominated neurons).
    """
    _check_shape(key, neurons, dim)
    log_scale = _log_lambda(log_lambda, neurons)
    g_key, b_key = jr.split(key)
    hidden = jr.normal(g_key, (neurons, dim), jnp.float64)
    return Network(log_scale, jr.normal(b_key, (neurons,), jnp.float64), hidden)


def he_uniform(key: Key, neurons: int, dim: int) -> Network:
    """w ~ U(+-sqrt(6 / d)) per entry and a ~ U(+-sqrt(6 / m)) (He et al. 2015; 2026, Fig. 6).

    PyTorch's default for linear layers, U(+-1 / sqrt(fan_in)), is smaller by sqrt(6).
    """
    _check_shape(key, neurons, dim)
    w_key, a_key = jr.split(key)
    w_bound, a_bound = np.sqrt(6.0 / dim), np.sqrt(6.0 / neurons)
    w = jr.uniform(w_key, (neurons, dim), jnp.float64, -w_bound, w_bound)
    a = jr.uniform(a_key, (neurons,), jnp.float64, -a_bound, a_bound)
    return Network(jnp.zeros((neurons,), jnp.float64), a, w)

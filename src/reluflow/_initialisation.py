"""Initialisations at scale lambda, given by its logarithm: e^-10000 is a value like others."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._checks import as_float64, check_finite, check_ndim, check_positive_int, require_x64
from ._network import Network


def _hidden(key: jax.Array, neurons: int, dim: int) -> jax.Array:
    require_x64()
    check_positive_int("neurons", neurons)
    check_positive_int("dim", dim)
    return jr.normal(key, (neurons, dim), jnp.float64)


def _log_lambda(log_lambda, neurons: int) -> jax.Array:
    log_lambda = as_float64("log_lambda", log_lambda)
    check_ndim("log_lambda", log_lambda, ())
    check_finite("log_lambda", log_lambda)
    return jnp.full((neurons,), log_lambda)


def balanced(key: jax.Array, neurons: int, dim: int, log_lambda) -> Network:
    """w_j = lambda g_j,  a_j = s_j |w_j|,  g_j ~ N(0, I_d), s_j = +-1 (2022, eq. 4).

    Arguments:
        key: a JAX random key.
        neurons, dim: m and d.
        log_lambda: ln(lambda), natural; may be -1e4, may be traced (one compilation serves all).
    """
    g_key, s_key = jr.split(key)
    hidden = _hidden(g_key, neurons, dim)
    sign = jr.rademacher(s_key, (neurons,), jnp.float64)
    output = sign * jnp.linalg.norm(hidden, axis=1)
    return Network(_log_lambda(log_lambda, neurons), output, hidden)


def unbalanced(key: jax.Array, neurons: int, dim: int, log_lambda) -> Network:
    """w_j = lambda g_j,  a_j = lambda b_j,  g_j ~ N(0, I_d), b_j ~ N(0, 1) (2022, section 3.2).

    Where |a_j| < |w_j| the sign of a_j may change along the flow (Lemma 1 excludes it only for
    balanced or dominated neurons).
    """
    g_key, b_key = jr.split(key)
    hidden = _hidden(g_key, neurons, dim)
    return Network(
        _log_lambda(log_lambda, neurons), jr.normal(b_key, (neurons,), jnp.float64), hidden
    )


def he_uniform(key: jax.Array, neurons: int, dim: int) -> Network:
    """w ~ U(+-sqrt(6 / d)) per entry and a ~ U(+-sqrt(6 / m)) (He et al. 2015; 2026, Fig. 6).

    PyTorch's default for linear layers, U(+-1 / sqrt(fan_in)), is smaller by sqrt(6).
    """
    require_x64()
    check_positive_int("neurons", neurons)
    check_positive_int("dim", dim)
    w_key, a_key = jr.split(key)
    w_bound, a_bound = np.sqrt(6.0 / dim), np.sqrt(6.0 / neurons)
    w = jr.uniform(w_key, (neurons, dim), jnp.float64, -w_bound, w_bound)
    a = jr.uniform(a_key, (neurons,), jnp.float64, -a_bound, a_bound)
    return Network(jnp.zeros((neurons,), jnp.float64), a, w)

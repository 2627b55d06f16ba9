"""What is measured at a point of a grid, each a pure function of JAX."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ... import theory
from ..._model._network import Network
from ...theory._orthogonal import is_one_to_one
from ...theory._union_bound import terms
from ._drops import drops
from ._measured import Measured

_CARRIES = 1e-6  # of |theta|^2, from which on a neuron counts as grown


def assumption_3(here: Measured) -> Any:
    return jnp.any(theory.S_plus_1(here.net, here.data)) & jnp.any(
        theory.S_minus_1(here.net, here.data)
    )


def assumption_4i(here: Measured) -> Any:
    return is_one_to_one(theory.masks(here.net, here.data), here.net.output != 0.0)


def assumption_4i_bound(here: Measured) -> Any:
    positive = jnp.sum(here.data.y > 0.0).astype(jnp.float64)
    negative = jnp.sum(here.data.y < 0.0).astype(jnp.float64)
    neurons = jnp.asarray(here.neurons, jnp.float64)
    return jnp.maximum(0.0, 1.0 - sum(terms(neurons, positive, negative)))


def grown(here: Measured) -> Any:
    squares = _squares(here.sol.final)
    return jnp.sum(squares > _CARRIES * jnp.sum(squares))


def _squares(net: Network) -> Any:
    a, w = net.weights()
    return a**2 + jnp.sum(w**2, axis=1)


def alignment(here: Measured) -> Any:
    """Mean cosine, of neurons weighted by |a_j| |w_j|."""
    a, w = here.sol.final.weights()
    toward = jnp.where(a[:, None] > 0.0, theory.D_plus(here.data), -theory.D_minus(here.data))
    size, length = jnp.linalg.norm(w, axis=1), jnp.linalg.norm(toward, axis=1)
    product = jnp.sum(w * toward, axis=1) / jnp.where(length > 0.0, length, 1.0)
    total = jnp.sum(jnp.abs(a) * size)
    return jnp.sum(jnp.abs(a) * product) / jnp.where(total > 0.0, total, 1.0)


def _padded(values: Any, there: Any, length: int) -> Any:
    """The first of them, NaN where there are fewer."""
    values = jnp.where(there, values, jnp.nan)[:length]
    return jnp.pad(values, (0, length - values.shape[0]), constant_values=jnp.nan)


def limit_jump_times(here: Measured) -> Any:
    times = here.process.jump_times
    return _padded(times, jnp.isfinite(times), here.times)


def event_times(here: Measured) -> Any:
    times = here.sol.events.time
    return _padded(times, jnp.isfinite(times), here.times)


def stat(name: str) -> Callable[[Measured], Any]:
    return lambda here: here.sol.stats[name]


def number_of_drops(here: Measured) -> Any:
    return drops(here.sol.ts, here.sol.losses)

"""How far a step can reach before a growing neuron arrives in the residual."""

import jax
import jax.numpy as jnp
import numpy as np

from .._field import Problem, coefficients
from .._shapes import PerSample, Scalar
from ._collocation import NUM_NODES
from ._sweep import Start
from ._walk import size_of

_ROUNDS = 50


def until_arrival(
    problem: Problem, start: Start, residual: PerSample, tolerance: Scalar, bound: Scalar
) -> Scalar:
    """The longest step in which no neuron's growth is missed by the polynomial of the residual.

    Neuron j contributes u_j e^{2 |D_j| t} to h as long as D_j stays as it is. On a step of length
    H, with x = 2 |D_j| H, a polynomial of degree 6 misses of it u_j e^x min(1, (x/4)^7 / 2520),
    which moves a neuron by about a tenth of `bound` H times that. On a plateau u_j is tiny, and the
    step reaches as far as a logarithm says.
    """
    samples = residual.shape[0]
    beta = coefficients(residual, start.pattern) / samples
    pull = jnp.sqrt(jnp.maximum(jnp.sum(beta * (beta @ problem.gram), axis=1), 0.0))
    square = size_of(start.output, start.balance) ** 2
    reach = jnp.log(jnp.maximum(square * jnp.max(problem.length), 1e-300))
    contribution = 2.0 * start.log_scale + reach
    grows = pull > 0.0
    rate = 2.0 * jnp.where(grows, pull, 1.0)
    constant = contribution + jnp.log(0.1 * bound / rate) - jnp.log(0.5 * tolerance)
    factorial = float(np.log(2520.0) + NUM_NODES * np.log(4.0))

    def missed(x):
        unresolved = jnp.minimum(0.0, NUM_NODES * jnp.log(x) - factorial)
        return constant + x + jnp.log(x) + unresolved

    def halve(_, ends):
        low, high = ends
        middle = jnp.sqrt(low * high)
        small = missed(middle) <= 0.0
        return jnp.where(small, middle, low), jnp.where(small, high, middle)

    ends = (jnp.full_like(pull, 1e-2), jnp.full_like(pull, 1e7))
    low, _ = jax.lax.fori_loop(0, _ROUNDS, halve, ends)
    return jnp.min(jnp.where(grows, low / rate, jnp.inf))

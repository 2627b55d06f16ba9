"""One attempted step: the residual that the neurons, moving under it, leave.

The unknown is the residual at the nodes, r; a sweep gives R(r), and the defect is R(r) - r. It is
closed by a quasi-Newton iteration with the tangent kernels K_i of a sweep,

    r <- r + (I + H K Q)^{-1} (R(r) - r),

Q the integration matrix of the nodes. The last sweep's neurons are the result.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._shapes import Scalar
from .._solution import RESULTS
from ._collocation import BASIS_BETWEEN, INTEGRATION, MOMENTS, NUM_NODES
from ._sweep import Start, Swept, sweep
from ._walk import Course

_UNKNOWN = NUM_NODES - 1
MAX_SWEEPS = 8


class Attempt(eqx.Module):
    """error, defect: effects on a neuron, relative to its own size."""

    swept: Swept
    nodes: Float[Array, "nodes samples"]
    converged: Bool[Array, ""]
    error: Scalar
    defect: Scalar
    sweeps: Int[Array, ""]
    trusted: Scalar  # up to where, in [0, 1], the first sweep stayed near its guess


def attempt(problem, start: Start, guess, length, tolerance, bound, noise, places) -> Attempt:
    """Iterates sweeps until the correction moves no neuron by more than a tenth of the tolerance.

    `bound` times the Euclidean norm of an integrated residual bounds its effect on a neuron.
    """
    samples = problem.labels.shape[0]
    unknown = _UNKNOWN * samples

    class Carry(eqx.Module):
        nodes: Array
        swept: Swept
        factors: tuple
        used: Array
        effect: Scalar
        previous: Scalar
        sweeps: Int[Array, ""]
        trusted: Scalar

    def run(nodes, wanted):
        course = Course(problem, nodes, length)
        return sweep(course, start, noise, places, wanted)

    def iterate(carry: Carry) -> Carry:
        swept = run(carry.nodes, carry.sweeps == 0)
        defect = swept.residual[1::2] - carry.nodes[1:]
        factors = jax.lax.cond(
            carry.sweeps == 0, lambda: _factorise(swept.kernels, length), lambda: carry.factors
        )
        change = jax.scipy.linalg.lu_solve(factors, defect.ravel()).reshape(_UNKNOWN, samples)
        effect = _effect(change, length, bound)
        effect = jnp.where(swept.end.result == RESULTS.successful, effect, jnp.inf)
        trusted = jnp.where(carry.sweeps == 0, _trusted(swept, carry.nodes, problem), carry.trusted)
        nodes = carry.nodes.at[1:].add(change)
        return Carry(
            nodes, swept, factors, carry.nodes, effect, carry.effect, carry.sweeps + 1, trusted
        )

    def running(carry: Carry):
        slow = (carry.sweeps > 2) & (carry.effect > 0.7 * carry.previous)
        going = (carry.effect > 0.1 * tolerance) & jnp.isfinite(carry.effect) & ~slow
        return (carry.sweeps == 0) | (going & (carry.sweeps < MAX_SWEEPS))

    shapes = eqx.filter_eval_shape(run, guess, jnp.array(True))
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    factors = (jnp.zeros((unknown, unknown)), jnp.zeros((unknown,), jnp.int32))
    big = jnp.array(jnp.inf)
    first = Carry(guess, blank, factors, guess, big, big, jnp.array(0), jnp.array(1.0))
    last = jax.lax.while_loop(running, iterate, first)
    error = _error(last.swept, last.used, length, bound)
    return Attempt(
        last.swept,
        last.used,
        last.effect <= 0.1 * tolerance,
        error,
        last.effect,
        last.sweeps,
        last.trusted,
    )


def _factorise(kernels, length):
    """LU factors of I + H K Q on the nodes after the first."""
    samples = kernels.shape[1]
    weights = jnp.asarray(INTEGRATION[1:, 1:])
    blocks = length * jnp.einsum("il,ikm->iklm", weights, kernels)
    matrix = blocks.reshape(_UNKNOWN * samples, _UNKNOWN * samples)
    return jax.scipy.linalg.lu_factor(matrix + jnp.eye(_UNKNOWN * samples))


def _effect(change, length, bound) -> Scalar:
    """Of a change of the residual at the nodes, integrated, on a neuron."""
    integrated = length * jnp.asarray(INTEGRATION[1:, 1:]) @ change
    return bound * jnp.max(jnp.linalg.norm(integrated, axis=1))


def _trusted(swept: Swept, nodes, problem):
    from ._collocation import POINTS

    guess = jnp.asarray(_at_points()) @ nodes
    scale = jnp.linalg.norm(problem.labels)
    off = jnp.linalg.norm(swept.residual - guess, axis=1) / scale
    good = jnp.cumprod(jnp.where(off < 0.3, 1.0, 0.0))
    return jnp.max(jnp.where(good > 0.0, jnp.asarray(POINTS[1:]), 0.0))


def _at_points():
    from ._collocation import POINTS, basis_at

    return basis_at(POINTS[1:]).T


def _error(swept: Swept, nodes, length, bound) -> Scalar:
    """What the polynomial misses of the residual between its nodes, by its first moments."""
    defect = swept.residual[1::2] - nodes[1:]
    basis = jnp.asarray(BASIS_BETWEEN)
    missed = swept.residual[0::2] - basis.T @ nodes - basis[1:].T @ defect
    moments = length * jnp.asarray(MOMENTS) @ missed
    return bound * jnp.max(jnp.linalg.norm(moments, axis=1))

"""One attempted step: the residual that the neurons, moving under it, leave.

The unknown is the residual at the nodes, r; a sweep gives R(r), and the defect is R(r) - r. It is
closed by a quasi-Newton iteration with the tangent kernels K_i of a sweep,

    r <- r + (I + H K Q)^{-1} (R(r) - r),

Q the integration matrix of the nodes. The last sweep's neurons are the result.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._shapes import Scalar
from .._solution import RESULTS
from ._collocation import (
    BASIS_BETWEEN,
    INTEGRATION,
    INTERIOR,
    MOMENTS,
    NODES,
    NUM_NODES,
    POINTS,
    basis_at,
)
from ._path import lagrange
from ._sweep import Start, Swept, sweep
from ._walk import Course, StepEvents

_UNKNOWN = NUM_NODES - 1
MAX_SWEEPS = 12


class Attempt(eqx.Module):
    """error, defect: effects on a neuron, relative to its own size."""

    swept: Swept
    nodes: Float[Array, "nodes samples"]
    fine: Float[Array, "points samples"]
    length: Scalar  # shorter than asked for, where a kink ends the step
    converged: Bool[Array, ""]
    error: Scalar
    defect: Scalar
    sweeps: Int[Array, ""]
    trusted: Scalar  # up to where, in [0, 1], the first sweep stayed near its guess


def attempt(
    problem, start: Start, guess, length, tolerance, bound, noise, places, ends_at_kinks=True
) -> Attempt:
    """Iterates sweeps until the correction moves no neuron by more than a tenth of the tolerance.

    With `ends_at_kinks`, a step is cut short where a large neuron makes r kink.
    `bound` times the Euclidean norm of an integrated residual bounds its effect on a neuron.
    """
    samples = problem.labels.shape[0]
    unknown = _UNKNOWN * samples

    class Carry(eqx.Module):
        nodes: Array
        fine: Array
        swept: Swept
        factors: tuple
        used: Array
        used_fine: Array
        length: Scalar
        since: Int[Array, ""]
        cut: Bool[Array, ""]
        effect: Scalar
        previous: Scalar
        sweeps: Int[Array, ""]
        trusted: Scalar

    def run(nodes, fine, length, wanted):
        course = Course(problem, start.log_scale, nodes, fine, length)
        return sweep(course, start, noise, places, wanted)

    def iterate(carry: Carry) -> Carry:
        length = carry.length
        swept = run(carry.nodes, carry.fine, length, carry.since == 0)
        kink = _first_kink(swept.end.events, length, tolerance, bound)
        cut = (kink < 1.0) & ends_at_kinks
        defect = swept.residual[1::2] - carry.nodes[1:]
        fresh = (carry.since == 0) & ~cut
        factors = jax.lax.cond(
            fresh, lambda: _factorise(swept.kernels, length), lambda: carry.factors
        )
        change = jax.scipy.linalg.lu_solve(factors, defect.ravel()).reshape(_UNKNOWN, samples)
        effect = _effect(change, length, bound)
        effect = jnp.where(swept.end.result == RESULTS.successful, effect, jnp.inf)
        trusted = jnp.where(carry.sweeps == 0, _trusted(swept, carry.nodes, problem), carry.trusted)
        moved = carry.nodes.at[1:].add(change)
        # Only a first kink near the end leaves the correction worth keeping.
        near = (carry.since > 0) & (kink > 0.5)
        shorter = jnp.where(near, moved, carry.nodes)
        shrunk = jnp.tensordot(lagrange(kink * jnp.asarray(NODES)), shorter, axes=[[0], [0]])
        nodes = jnp.where(cut, shrunk, moved)
        left = jnp.concatenate([carry.nodes[:1], swept.residual])
        fine = left + jnp.asarray(basis_at(POINTS)).T @ (moved - left[::2])
        fine = jnp.where(cut, jnp.asarray(basis_at(POINTS)).T @ nodes, fine)
        return Carry(
            nodes=nodes, fine=fine, swept=swept, factors=factors, used=carry.nodes, used_fine=carry.fine,
            length=jnp.where(cut, kink * length, length),
            since=jnp.where(cut & ~near, 0, carry.since + 1),
            cut=cut, effect=effect, previous=carry.effect, sweeps=carry.sweeps + 1,
            trusted=jnp.where(cut, 1.0, trusted),
        )  # fmt: skip

    def running(carry: Carry):
        slow = (carry.since > 2) & (carry.effect > 0.7 * carry.previous) & ~carry.cut
        going = (carry.effect > 0.1 * tolerance) & jnp.isfinite(carry.effect) & ~slow
        return (carry.since == 0) | ((going | carry.cut) & (carry.sweeps < MAX_SWEEPS))

    at_points = jnp.asarray(basis_at(POINTS)).T @ guess
    shapes = eqx.filter_eval_shape(run, guess, at_points, length, jnp.array(True))
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    factors = (jnp.zeros((unknown, unknown)), jnp.zeros((unknown,), jnp.int32))
    big = jnp.array(jnp.inf)
    first = Carry(
        nodes=guess, fine=at_points, swept=blank, factors=factors, used=guess, used_fine=at_points, length=length,
        since=jnp.array(0), cut=jnp.array(False), effect=big, previous=big,
        sweeps=jnp.array(0), trusted=jnp.array(1.0),
    )  # fmt: skip
    last = jax.lax.while_loop(running, iterate, first)
    length = last.length
    error = _error(last.swept, last.used, length, bound)
    return Attempt(
        last.swept,
        last.used,
        last.used_fine,
        length,
        (last.effect <= 0.1 * tolerance) & ~last.cut,
        error,
        last.effect,
        last.sweeps,
        last.trusted,
    )


def _first_kink(events: StepEvents, length, tolerance, bound) -> Scalar:
    """Where the first kink of r is that a polynomial would miss by more than the tolerance."""
    s = events.time
    scale = 0.03 * bound * events.kink * length**2
    present = jnp.arange(s.shape[0]) < events.count
    strong = present & (scale * jnp.minimum(s, 1.0 - s) > 0.3 * tolerance)
    # The step may end a little later, so that the kink stays behind: x (x - s) scale is missed.
    allowed = 0.1 * tolerance / jnp.where(strong, scale, 1.0)
    end = (s + jnp.sqrt(s**2 + 4.0 * allowed)) / 2.0
    return jnp.min(jnp.where(strong, end, 1.0))


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
    guess = jnp.asarray(basis_at(POINTS[1:])).T @ nodes
    scale = jnp.linalg.norm(problem.labels)
    off = jnp.linalg.norm(swept.residual - guess, axis=1) / scale
    good = jnp.cumprod(jnp.where(off < 0.3, 1.0, 0.0))
    return jnp.max(jnp.where(good > 0.0, jnp.asarray(POINTS[1:]), 0.0))


def _error(swept: Swept, nodes, length, bound) -> Scalar:
    """What the polynomial misses of the residual between its nodes, integrated.

    To the end against P0, P1, P2, and from the beginning to every node: the end is of a much higher
    order than the inside, where states are saved and events happen.
    """
    defect = swept.residual[1::2] - nodes[1:]
    basis = jnp.asarray(BASIS_BETWEEN)
    missed = swept.residual[0::2] - basis.T @ nodes - basis[1:].T @ defect
    weights = np.concatenate([MOMENTS, INTERIOR])
    return bound * length * jnp.max(jnp.linalg.norm(jnp.asarray(weights) @ missed, axis=1))

"""The iterate between two sweeps: the nodal values of the next one, and the Newton matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._factorisations import lu, lu_solve
from .._field import Problem
from .._shapes import Scalar
from ._collocation import INTEGRATION, NUM_NODES, POINTS
from ._collocation_problem import CollocationProblem, NodalValues
from ._small import total


class NewtonMatrix(eqx.Module):
    """I + H Gamma Q K as LU factors and the permutation of rows; K in the mean and at the end, and
    the curvatures gamma in the mean, None where they are 1."""

    lu: Float[Array, "unknowns unknowns"]
    rows: Int[Array, " unknowns"]
    mean_kernel: Float[Array, "samples samples"]
    end_kernel: Float[Array, "samples samples"]
    mean_curvature: Float[Array, " samples"] | None

    @classmethod
    def none(cls, problem: Problem) -> "NewtonMatrix":
        samples = problem.samples
        size, square = NUM_NODES * samples, jnp.zeros((samples, samples))
        curvature = None if problem.plain else jnp.zeros((samples,))
        rows = jnp.zeros((size,), jnp.int32)
        return cls(jnp.zeros((size, size)), rows, square, square, curvature)

    @classmethod
    def of(
        cls,
        kernels: Float[Array, "nodes samples samples"],
        curvature: Float[Array, "nodes samples"] | None,
        length: Scalar,
    ) -> "NewtonMatrix":
        size = NUM_NODES * kernels.shape[1]
        blocks = length * jnp.einsum("il,ikm->iklm", jnp.asarray(INTEGRATION), kernels)
        if curvature is not None:
            blocks = curvature[:, :, None, None] * blocks
        newton_matrix, rows = lu(blocks.reshape(size, size) + jnp.eye(size))
        weights = INTEGRATION[-1]
        mean, of_loss = total(weights[:, None, None] * kernels, 0), None
        if curvature is not None:
            of_loss = total(weights[:, None] * curvature, 0)
        return cls(newton_matrix, rows, mean, kernels[-1], of_loss)

    def solve(self, defect: Float[Array, "nodes samples"]) -> Float[Array, "nodes samples"]:
        """(`jax.scipy.linalg.lu_solve` would find the permutation anew in every sweep.)"""
        found = lu_solve(self.lu, defect.ravel()[self.rows][:, None])
        return found.reshape(defect.shape)


class Iterate(eqx.Module):
    """Of the quasi-Newton iteration between two sweeps."""

    nodal_values: NodalValues  # of the next sweep
    newton_matrix: NewtonMatrix
    cut: Bool[Array, ""]  # by a kink, in the last sweep
    shortened: Bool[Array, ""]  # or in any
    since: Int[Array, ""]  # sweeps since the matrix was made; 0: the next one makes it
    sweeps: Int[Array, ""]
    effect: Scalar  # of the last correction on a neuron, relative to its own size
    previous: Scalar
    trusted: Scalar  # up to where, in [0, 1], the first sweep stayed near its guess

    @classmethod
    def none(cls, problem: Problem) -> "Iterate":
        """Nothing yet: the iteration is still to begin."""
        samples, newton_matrix = problem.samples, NewtonMatrix.none(problem)
        nodes, fine = jnp.zeros((NUM_NODES, samples)), jnp.zeros((len(POINTS), samples))
        no, zero, big = jnp.array(False), jnp.array(0), jnp.array(jnp.inf)
        nodal_values = NodalValues(nodes, fine, jnp.zeros(()))
        return cls(nodal_values, newton_matrix, no, no, zero, zero, big, big, jnp.array(1.0))

    def begun(self, collocation: CollocationProblem) -> "Iterate":
        """From the guess, where it has not begun."""
        # The first sweep makes the matrix: what was there before is of no use, and does no harm.
        none = Iterate.none(collocation.problem)
        fresh = eqx.tree_at(
            lambda p: (p.nodal_values, p.newton_matrix),
            none,
            (collocation.guess, self.newton_matrix),
        )
        return jax.tree.map(
            lambda a, b: a if a is b else jnp.where(self.sweeps == 0, a, b), fresh, self
        )

    def ended(self, finished) -> "Iterate":
        """Begins anew where it has finished."""
        return eqx.tree_at(lambda p: p.sweeps, self, jnp.where(finished, 0, self.sweeps))


@jax.custom_batching.custom_vmap
def alone(something):
    """True, but not where `jax.vmap` has this one for many."""
    return jnp.ones(something.shape, bool)


@alone.def_vmap
def _not_alone(size, batched, something):
    return jnp.zeros(something.shape, bool), batched[0]

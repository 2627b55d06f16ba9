"""An attempt between two sweeps: what the next one moves under, and the matrix that corrects it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._factorisations import lu, lu_solve
from .._shapes import Scalar
from ._collocation import INTEGRATION, NUM_NODES, POINTS
from ._question import Question, Unknowns
from ._small import total


class Factors(eqx.Module):
    """I + H Q K as LU factors and the permutation of rows; K in the mean and at the end."""

    lu: Float[Array, "unknowns unknowns"]
    rows: Int[Array, " unknowns"]
    mean_kernel: Float[Array, "samples samples"]
    end_kernel: Float[Array, "samples samples"]

    @classmethod
    def of(cls, kernels: Float[Array, "nodes samples samples"], length: Scalar) -> "Factors":
        size = NUM_NODES * kernels.shape[1]
        blocks = length * jnp.einsum("il,ikm->iklm", jnp.asarray(INTEGRATION), kernels)
        factors, rows = lu(blocks.reshape(size, size) + jnp.eye(size))
        return cls(factors, rows, total(INTEGRATION[-1][:, None, None] * kernels, 0), kernels[-1])

    def solve(self, defect: Float[Array, "nodes samples"]) -> Float[Array, "nodes samples"]:
        """(`jax.scipy.linalg.lu_solve` would find the permutation anew in every sweep.)"""
        found = lu_solve(self.lu, defect.ravel()[self.rows][:, None])
        return found.reshape(defect.shape)


class Progress(eqx.Module):
    """Of an attempt between two sweeps."""

    unknowns: Unknowns  # of the next sweep
    factors: Factors
    cut: Bool[Array, ""]  # by a kink, in the last sweep
    shortened: Bool[Array, ""]  # or in any
    since: Int[Array, ""]  # sweeps since the matrix was made; 0: the next one makes it
    sweeps: Int[Array, ""]
    effect: Scalar  # of the last correction on a neuron, relative to its own size
    previous: Scalar
    trusted: Scalar  # up to where, in [0, 1], the first sweep stayed near its guess

    @classmethod
    def none(cls, samples: int) -> "Progress":
        """Nothing yet: the attempt is still to begin."""
        size = NUM_NODES * samples
        nodes, fine = jnp.zeros((NUM_NODES, samples)), jnp.zeros((len(POINTS), samples))
        square = jnp.zeros((samples, samples))
        factors = Factors(jnp.zeros((size, size)), jnp.zeros((size,), jnp.int32), square, square)
        no, zero, big = jnp.array(False), jnp.array(0), jnp.array(jnp.inf)
        unknowns = Unknowns(nodes, fine, jnp.zeros(()))
        return cls(unknowns, factors, no, no, zero, zero, big, big, jnp.array(1.0))

    def begun(self, question: Question) -> "Progress":
        """From the guess, where it has not begun."""
        # The first sweep makes the matrix: what was there before is of no use, and does no harm.
        none = Progress.none(len(question.residual))
        fresh = eqx.tree_at(lambda p: (p.unknowns, p.factors), none, (question.guess, self.factors))
        return jax.tree.map(
            lambda a, b: a if a is b else jnp.where(self.sweeps == 0, a, b), fresh, self
        )

    def ended(self, finished) -> "Progress":
        """Begins anew where it has finished."""
        return eqx.tree_at(lambda p: p.sweeps, self, jnp.where(finished, 0, self.sweeps))


@jax.custom_batching.custom_vmap
def alone(something):
    """True, but not where `jax.vmap` has this one for many."""
    return jnp.ones(something.shape, bool)


@alone.def_vmap
def _not_alone(size, batched, something):
    return jnp.zeros(something.shape, bool), batched[0]

"""The collocation problem of a step, and its unknowns: the residual at the nodes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._dynamics._field import Problem
from .._dynamics._rest import scale_of
from .._model import _modes
from .._model._shapes import PerNeuron, PerSample, Scalar
from ._collocation import POINTS, basis_at
from ._generator import Generator, Uncertainty
from ._neurons import Start
from ._small import small_product

_TIGHTEST = 1e-13  # tolerance
_EPS = float(np.finfo(np.float64).eps)
AT_POINTS = basis_at(POINTS).T  # the polynomial at all points, from its values at the nodes


class NodalValues(eqx.Module):
    """The residual at the nodes and, more finely, at all points; the length of the step."""

    nodes: Float[Array, "nodes samples"]
    fine: Float[Array, "points samples"]
    length: Scalar

    @classmethod
    def of_nodes(cls, nodes, beginning: PerSample, length: Scalar) -> "NodalValues":
        """Of a polynomial, where no sweep has told more."""
        return cls(nodes, small_product(AT_POINTS, nodes).at[0].set(beginning), length)

    def generator(self, problem: Problem, log_scale: PerNeuron) -> Generator:
        """Of neurons that begin with this size."""
        return Generator.of_step(problem, log_scale, self.nodes, self.fine, self.length)

    def noise(self) -> Scalar:
        """How far the two are apart. Neurons move under one and leave slides by the other: within
        this distance, a unit that has left may be driven back at once, and so on for ever."""
        apart = self.fine[1:] - small_product(AT_POINTS[1:], self.nodes)
        return jax.lax.stop_gradient(jnp.max(jnp.abs(apart)))


class CollocationProblem(eqx.Module):
    """A step from `start`, of the length of `guess`, to this tolerance.

    `bound` times the Euclidean norm of an integrated residual bounds its effect on a neuron,
    relative to its own size, which is what the tolerance is about.

    Predictions are to be as exact, relative to the height of the labels; residuals, which move by
    the curvature of the loss times what predictions do, relative to `scale()`.

    Where `known`, the guess is the solution, of an earlier step, and one sweep under it is wanted.
    """

    problem: Problem
    start: Start
    residual: PerSample  # at the beginning
    guess: NodalValues
    tolerance: Scalar
    bound: Scalar
    height: Scalar  # of the labels: what predictions are measured by
    curvature: Scalar  # the largest, at the beginning
    noise: Scalar  # of the residual, by rounding
    uncertainty: Uncertainty
    known: Bool[Array, ""]

    def stricter(self, part: float) -> tuple["CollocationProblem", Scalar]:
        """With a part of the tolerance, as far as float64 can meet it, and by how much less."""
        if part == 1.0:
            return self, jnp.ones(())
        tolerance = jnp.maximum(part * self.tolerance, _TIGHTEST)
        tolerance = jnp.minimum(tolerance, self.tolerance)
        stricter = eqx.tree_at(lambda q: q.tolerance, self, tolerance)
        return stricter, self.tolerance / tolerance

    def unless(self, stands) -> "CollocationProblem":
        """Empty where the flow stands."""
        length = jnp.where(stands, 0.0, self.guess.length)
        return eqx.tree_at(lambda q: (q.guess.length, q.known), self, (length, self.known | stands))

    def is_empty(self) -> Bool[Array, ""]:
        """A known step of no length: nothing is swept."""
        return self.known & (self.guess.length == 0.0)

    def scale(self) -> Scalar:
        """What residuals are measured by."""
        return scale_of(self.problem, self.height, self.curvature)

    def rounding(self) -> Scalar:
        """The effect per unit of time of rounding in r: no correction is smaller."""
        size = size_of_residual(self.problem, self.height, self.curvature, self.residual)
        return 8.0 * _EPS * self.bound * jnp.sqrt(1.0 * self.residual.shape[0]) * size

    def slid(self) -> Bool[Array, " boundaries"]:
        """The boundaries along which some neuron slides as the step begins."""
        return jnp.any(self.start.pattern.mode == _modes.SLIDING, axis=0)


def size_of_residual(problem: Problem, height, curvature, residual: PerSample) -> Scalar:
    """How large one can be."""
    if problem.plain:
        return height
    return scale_of(problem, height, curvature) + jnp.max(jnp.abs(residual))


def placed(start: Start) -> int:
    """How many events of one step there is room for: every unit twice."""
    return 2 * start.preactivation.size + 64

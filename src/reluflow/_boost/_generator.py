"""The generator of the neurons' motion in a step: the pulls, as polynomials, and their accuracy."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._arrangement import Arrangement, Pulls
from .._field import Problem
from .._shapes import Gram, PerBoundary, PerNeuron
from ._collocation import TO_FINE_MODES, TO_MODES
from ._small import small_product, total


class Generator(eqx.Module):
    """What neurons move under: the pulls in a step of this length, by their Legendre coefficients,
    of shape (modes, one, boundaries).

    The axes called one have length 1, where all neurons are in the same step, or one place for
    each of them.

    `fine` goes through all points, where it is the residual of the sweep before. It is of higher
    order than the polynomial through the nodes, whose integral is exact rather than its values, and
    decides when a unit leaves a slide.
    """

    arrangement: Arrangement
    log_scale: PerNeuron  # at the beginning of the step
    pulls: Pulls
    fine: Pulls
    length: Float[Array, " one"]

    @classmethod
    def of_step(cls, problem: Problem, log_scale: PerNeuron, nodes, fine, length) -> "Generator":
        """Of all neurons in one step, from the residual at the nodes and at all points."""

        def pulls(modes):
            return problem.pulls(modes).map(lambda leaf: leaf[:, None])

        moves, ceases = small_product(TO_MODES, nodes), small_product(TO_FINE_MODES, fine)
        of_all = (pulls(moves), pulls(ceases), jnp.reshape(length, 1))
        return cls(problem.arrangement, log_scale, *of_all)

    @property
    def gram(self) -> Gram:
        return self.arrangement.gram

    @property
    def norms(self) -> PerBoundary:
        """|u_b|."""
        return self.arrangement.length

    @property
    def samples(self) -> int:
        return self.arrangement.samples

    @property
    def boundaries(self) -> int:
        return self.arrangement.boundaries

    def rows(self, at) -> "Generator":
        """Of some of the neurons."""
        fields = (self.pulls, self.fine, self.length)
        if self.length.shape[0] > 1:
            pulls, fine = (each.map(lambda leaf: leaf[:, at]) for each in fields[:2])
            fields = (pulls, fine, self.length[at])
        return Generator(self.arrangement, self.log_scale[at], *fields)

    def jump_of(self, polynomials, boundary: Int[Array, " neurons"]) -> PerNeuron:
        """F^+ - F^-, of the polynomials through the nodes, at one boundary of each neuron."""
        return total(polynomials * self.modal(boundary), 0)

    def modal(self, boundary: Int[Array, " neurons"]) -> Float[Array, "modes neurons"]:
        """F^+ - F^- at one boundary of each neuron."""
        jump = self.pulls.jump
        if self.length.shape[0] == 1:
            return jump[:, 0, boundary]
        return jump[:, jnp.arange(boundary.shape[0]), boundary]


class Uncertainty(eqx.Module):
    """How far a residual may be from the flow's, of a step or of each neuron.

    alpha: of that which decides when units leave slides. While alpha r is within it of zero, a unit
        keeps its mode: either mode then moves no neuron by more than the tolerance.
    motion: of that by which neurons move, which is another one within a step.
    """

    alpha: Array
    motion: Array

    def of(self, lane) -> "Uncertainty":
        return Uncertainty(self.alpha[lane], self.motion[lane])

    def under(self, nodal_values) -> "Uncertainty":
        """Of neurons that move under these."""
        return Uncertainty(self.alpha, self.motion + nodal_values.noise())

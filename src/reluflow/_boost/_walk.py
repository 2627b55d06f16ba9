"""Every neuron on its way through a step: each at its own time, with its own events.

A hop takes all neurons at once, each from where it is towards the next point of the step; a
neuron that meets a boundary on the way looks for the place, hop by hop, goes only as far as that
and turns there. Neurons do not wait for each other, and none of them ends the step.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._arrangement import Arrangement, Pulls
from .._events import ON_BOUNDARY
from .._field import Pattern, Problem
from .._shapes import Gram, PerBoundary, PerNeuron, UnitFlags, Units
from ._collocation import NUM_NODES, TO_FINE_MODES, TO_MODES
from ._frame import Frame, ModeFrame, boundary_frame, mode_frame, overlaps
from ._path import Reduced, size_of, total_growth
from ._release import guards
from ._small import small_product, total

# What a neuron's next hop is for: to get to its next point; to look for an event before that; to
# go as far as the event found.
SEEKING, SEARCHING, LANDING = 0, 1, 2


class Course(eqx.Module):
    """What neurons move under: the pulls in a step of this length, by their Legendre coefficients,
    of shape (modes, one, boundaries).

    The axes called one have length 1, where all neurons are in the same step, or one place for
    each of them.

    `fine` goes through all points, where it is what the neurons left in the sweep before. It is of
    higher order than the polynomial through the nodes, whose integral is exact rather than its
    values, and tells when a unit ceases to slide.
    """

    arrangement: Arrangement
    log_scale: PerNeuron  # at the beginning of the step
    pulls: Pulls
    fine: Pulls
    length: Float[Array, " one"]

    @classmethod
    def of_step(cls, problem: Problem, log_scale: PerNeuron, nodes, fine, length) -> "Course":
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

    def rows(self, at) -> "Course":
        """Of some of the neurons."""
        fields = (self.pulls, self.fine, self.length)
        if self.length.shape[0] > 1:
            pulls, fine = (each.map(lambda leaf: leaf[:, at]) for each in fields[:2])
            fields = (pulls, fine, self.length[at])
        return Course(self.arrangement, self.log_scale[at], *fields)

    def jump_of(self, basis, boundary: Int[Array, " neurons"]) -> PerNeuron:
        """F^+ - F^-, of the polynomials through the nodes, at one boundary of each neuron."""
        return total(basis * self.modal(boundary), 0)

    def modal(self, boundary: Int[Array, " neurons"]) -> Float[Array, "modes neurons"]:
        """F^+ - F^- at one boundary of each neuron."""
        jump = self.pulls.jump
        if self.length.shape[0] == 1:
            return jump[:, 0, boundary]
        return jump[:, jnp.arange(boundary.shape[0]), boundary]


class Uncertainty(eqx.Module):
    """How far a residual may be from the flow's, of a step or of each neuron.

    alpha: of that by which units cease to slide. While alpha r is within it of zero, a unit keeps
        its mode: what it does then moves nobody by more than the tolerance.
    motion: of that by which neurons move, which is another one within a step.
    """

    alpha: Array
    motion: Array

    def of(self, lane) -> "Uncertainty":
        return Uncertainty(self.alpha[lane], self.motion[lane])

    def under(self, unknowns) -> "Uncertainty":
        """Of neurons that move under these."""
        return Uncertainty(self.alpha, self.motion + unknowns.noise())


class Search(eqx.Module):
    """The work on an event, which lies between `low` and `high`."""

    stage: Int[Array, " neurons"]
    sample: Int[Array, " neurons"]  # whose boundary it is
    vanishing: Bool[Array, " neurons"]  # or, in place of it, the zero of the output
    low: PerNeuron
    high: PerNeuron
    trial: PerNeuron  # where the next hop looks

    @classmethod
    def none(cls, zero: PerNeuron) -> "Search":
        sample = jnp.zeros(zero.shape, jnp.array(0).dtype)
        return cls(sample.astype(jnp.int32), sample, jnp.zeros(zero.shape, bool), zero, zero, zero)


class Walk(eqx.Module):
    """The neurons; w = kept w(step start) + combination @ u, all over 2^exponent e^growth."""

    index: Int[Array, " neurons"]  # which neurons of the network these are
    time: PerNeuron  # in [0, 1]
    goal: Int[Array, " neurons"]  # which point is next
    target: PerNeuron  # the next hop ends here at the latest
    search: Search
    hops: Int[Array, " neurons"]  # since its last point
    reduced: Reduced
    preactivation: Units
    combination: Units
    kept: PerNeuron
    growth: PerNeuron
    exponent: Int[Array, " neurons"]
    # on which pattern
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]
    modes: ModeFrame | None  # what the residual is to it there, unless that is cheap to have
    guards: Float[Array, "fine_modes neurons guards"] | None  # that units still slide, on its hops

    @classmethod
    def depart(cls, course: Course, start) -> "Walk":
        """At the beginning of the step, from a `Start`."""
        pattern, zero = start.pattern, jnp.zeros_like(start.output)
        return cls(
            index=jnp.arange(zero.shape[0], dtype=jnp.int32),
            time=zero,
            goal=jnp.ones(zero.shape, jnp.int32),
            target=zero,
            search=Search.none(zero),
            hops=jnp.zeros(zero.shape, jnp.int32),
            reduced=Reduced(
                start.output, overlaps(course, pattern, start.preactivation), start.balance
            ),
            preactivation=start.preactivation,
            combination=jnp.zeros_like(start.preactivation),
            kept=zero + 1.0,
            growth=zero,
            exponent=jnp.zeros(zero.shape, jnp.int32),
            pattern=pattern,
            armed=start.armed,
            pending=start.pending,
            modes=None if course.boundaries <= NUM_NODES else mode_frame(course, pattern),
            guards=None,
        )

    def rows(self, at) -> "Walk":
        """Some of the neurons."""
        return self.over_neurons(lambda leaf, axis: jnp.take(leaf, at, axis=axis))

    def with_rows(self, chosen, few: "Walk") -> "Walk":
        """With some of the neurons from `few`; those beyond the last are left."""

        def put(leaf, axis, new):
            where = (slice(None),) * axis + (chosen,)
            return leaf.at[where].set(new, mode="drop")

        return self.over_neurons(put, few)

    def over_neurons(self, function, *others: "Walk") -> "Walk":
        """function(leaf, axis of the neurons, *leaves of the others)."""
        axes = jax.tree.map(lambda _: 0, self)
        axes = eqx.tree_at(lambda w: w.reduced.overlap, axes, 1)
        if self.modes is not None:
            axes = eqx.tree_at(lambda w: (w.modes.force, w.modes.inner), axes, (1, 2))
        if self.guards is not None:
            axes = eqx.tree_at(lambda w: w.guards, axes, 1)
        return jax.tree.map(function, self, axes, *others)

    def on_hops(self, course: Course) -> "Walk":
        """With what is of use there only."""
        return self._with_guards(guards(course.arrangement, self.pattern, course.fine))

    def off_hops(self) -> "Walk":
        return self._with_guards(None)

    def _with_guards(self, guards) -> "Walk":
        return eqx.tree_at(lambda w: w.guards, self, guards, is_leaf=lambda leaf: leaf is None)

    def frame(self, course: Course) -> Frame:
        return boundary_frame(course, self.pattern) if self.modes is None else self.modes

    def slack(self, norms: PerBoundary) -> Units:
        """How far from its boundary a unit has to be before its sign is more than rounding."""
        return ON_BOUNDARY * size_of(self.reduced.output, self.reduced.balance)[:, None] * norms

    def side(self) -> Units:
        return jnp.where(self.pattern.mode == _modes.ACTIVE, 1.0, -1.0)

    def total_growth(self) -> PerNeuron:
        return total_growth(self.growth, self.exponent)

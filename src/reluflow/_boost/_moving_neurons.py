"""The neurons inside a step, each at its own time, with its own events.

They are propagated together, each from where it is towards the next point of the step; a neuron
that meets a boundary on the way locates the event, is propagated only as far as that, and changes
its mode there. Neurons do not wait for each other, and none of them ends the step.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Pattern
from .._events import ON_BOUNDARY
from .._model import _modes
from .._model._shapes import PerBoundary, PerNeuron, UnitFlags, Units
from .._support._indexing import taken
from ._basis import Basis, ModeBasis, boundary_basis, mode_basis, overlaps
from ._collocation import NUM_NODES, POINTS
from ._generator import Generator
from ._propagator import Reduced, size_of, total_growth
from ._slide_exit import Guards

# From this size on the rows of an array are written one by one; below, all of it at once is faster.
_LARGE = 2**16


class Location(eqx.Module):
    """An event that was located."""

    present: Bool[Array, " neurons"]  # else the next propagation is to the next point
    sample: Int[Array, " neurons"]  # whose boundary it is
    vanishing: Bool[Array, " neurons"]  # or, in place of it, the zero of the output
    time: PerNeuron

    @classmethod
    def none(cls, zero: PerNeuron) -> "Location":
        no = jnp.zeros(zero.shape, bool)
        return cls(no, jnp.zeros(zero.shape, jnp.array(0).dtype), no, zero)


class StepEnd(eqx.Module):
    """Where a step has taken neurons; w = kept w(step start) + combination @ u, all over
    2^exponent e^growth."""

    output: PerNeuron
    balance: PerNeuron
    preactivation: Units
    combination: Units
    kept: PerNeuron
    growth: PerNeuron
    exponent: Int[Array, " neurons"]
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]

    @classmethod
    def at_start(cls, start) -> "StepEnd":
        """Of a step of no length, from a `Start`."""
        zero, nothing = jnp.zeros_like(start.output), jnp.zeros_like(start.preactivation)
        return cls(
            output=start.output,
            balance=start.balance,
            preactivation=start.preactivation,
            combination=nothing,
            kept=zero + 1.0,
            growth=zero,
            exponent=jnp.zeros(zero.shape, jnp.int32),
            pattern=start.pattern,
            armed=start.armed,
            pending=start.pending,
        )


class Undisturbed(eqx.Module):
    """Neurons at the end of the last interval in which they met nothing.

    safe: how many intervals that were; ended: where they are; overlap, modes: of `MovingNeurons`.
    """

    safe: Int[Array, " neurons"]
    ended: StepEnd
    overlap: Float[Array, "_ neurons"]
    modes: "ModeBasis | None"

    def meets(self) -> Bool[Array, "*lanes neurons"]:
        """Whether they meet something later."""
        return self.safe < len(POINTS) - 1

    def arrays(self):
        """What goes with the neurons, and the axes of those."""
        modes = () if self.modes is None else (self.modes.force, self.modes.inner)
        return (self.overlap, *modes), (1, 1, 2)[: 1 + len(modes)]


class MovingNeurons(eqx.Module):
    """The neurons; w = kept w(step start) + combination @ u, all over 2^exponent e^growth."""

    index: Int[Array, " neurons"]  # which neurons of the network these are
    time: PerNeuron  # in [0, 1]
    goal: Int[Array, " neurons"]  # which point is next
    target: PerNeuron  # the next propagation ends here at the latest
    event: Location
    advances: Int[Array, " neurons"]  # since its last point
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
    modes: ModeBasis | None  # what the residual is to it there, unless that is cheap to have
    guards: Guards | None  # that units still slide; in the event pass

    @classmethod
    def at_start(cls, generator: Generator, start) -> "MovingNeurons":
        """At the beginning of the step, from a `Start`."""
        pattern, neurons = start.pattern, start.output.shape
        return cls.resumed(
            jnp.arange(*neurons, dtype=jnp.int32),
            jnp.ones(neurons, jnp.int32),
            StepEnd.at_start(start),
            overlaps(generator, pattern, start.preactivation),
            None if generator.boundaries <= NUM_NODES else mode_basis(generator, pattern),
        )

    @classmethod
    def resumed(
        cls, index, goal, ended: StepEnd, overlap, modes: ModeBasis | None
    ) -> "MovingNeurons":
        """From where neurons are, to this point next."""
        zero = jnp.zeros_like(ended.output)
        last = len(POINTS) - 1
        points = jnp.asarray(POINTS)
        return cls(
            index=index,
            time=points[jnp.minimum(goal, last) - 1],
            goal=goal,
            target=points[jnp.minimum(goal, last)],
            event=Location.none(zero),
            advances=jnp.zeros(zero.shape, jnp.int32),
            reduced=Reduced(ended.output, overlap, ended.balance),
            preactivation=ended.preactivation,
            combination=ended.combination,
            kept=ended.kept,
            growth=ended.growth,
            exponent=ended.exponent,
            pattern=ended.pattern,
            armed=ended.armed,
            pending=ended.pending,
            modes=modes,
            guards=None,
        )

    def rows(self, at) -> "MovingNeurons":
        """Some of the neurons."""
        return jax.tree.map(lambda leaf, axis: taken(leaf, at, axis), self, self._axes())

    def ended(self) -> "StepEnd":
        """What counts of it at the end of the step."""
        return StepEnd(
            self.reduced.output,
            self.reduced.balance,
            self.preactivation,
            self.combination,
            self.kept,
            self.growth,
            self.exponent,
            self.pattern,
            self.armed,
            self.pending,
        )

    def with_rows(
        self, chosen, few: "MovingNeurons", changed: Callable[["MovingNeurons"], tuple]
    ) -> "MovingNeurons":
        """With some of the neurons from `few`, in what is `changed`; those beyond the last are
        left."""
        hit = chosen == jnp.arange(self.time.shape[0], dtype=chosen.dtype)[:, None]
        taken_from, here = jnp.argmax(hit, axis=1), jnp.any(hit, axis=1)

        def put(leaf, axis, new):
            if leaf.size >= _LARGE:
                rows = (slice(None),) * axis + (chosen,)
                return leaf.at[rows].set(new, mode="drop")
            where = here.reshape(-1, *(1,) * (leaf.ndim - axis - 1))
            return jnp.where(where, taken(new, taken_from, axis), leaf)

        axes, is_leaf = changed(self._axes()), lambda leaf: leaf is None
        new = jax.tree.map(put, changed(self), axes, changed(few))
        return eqx.tree_at(changed, self, new, is_leaf=is_leaf)

    def _axes(self) -> "MovingNeurons":
        """Which axis is that of the neurons."""
        axes = jax.tree.map(lambda _: 0, self)
        axes = eqx.tree_at(lambda w: w.reduced.overlap, axes, 1)
        if self.modes is not None:
            axes = eqx.tree_at(lambda w: (w.modes.force, w.modes.inner), axes, (1, 2))
        if self.guards is not None:
            axes = eqx.tree_at(lambda w: w.guards.values, axes, 1)
        return axes

    def with_guards(self, generator: Generator) -> "MovingNeurons":
        """With what is of use there only."""
        of_units = Guards.of(generator.arrangement, self.pattern, generator.fine)
        return eqx.tree_at(lambda w: w.guards, self, of_units, is_leaf=lambda leaf: leaf is None)

    def basis(self, generator: Generator) -> Basis:
        return boundary_basis(generator, self.pattern) if self.modes is None else self.modes

    def slack(self, norms: PerBoundary) -> Units:
        """How far from its boundary a unit has to be before its sign is more than rounding."""
        return ON_BOUNDARY * size_of(self.reduced.output, self.reduced.balance)[:, None] * norms

    def meets(self, generator: Generator) -> UnitFlags:
        """Which units may meet their boundaries: those that do not slide, where a boundary is
        anything to a neuron."""
        return (self.pattern.mode != _modes.SLIDING) & generator.arrangement.switches()

    def side(self) -> Units:
        return jnp.where(self.pattern.mode == _modes.ACTIVE, 1.0, -1.0)

    def total_growth(self) -> PerNeuron:
        return total_growth(self.growth, self.exponent)

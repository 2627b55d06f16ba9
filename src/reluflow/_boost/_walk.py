"""Every neuron on its way through a step: each at its own time, with its own events.

A hop takes all neurons at once, each from where it is towards the next point of the step; a
neuron that meets a boundary on the way goes only as far as that and turns there. Its next hop
begins at its event. Neurons do not wait for each other, and none of them ends the step.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._field import Pattern, Problem
from .._shapes import PerNeuron, Scalar, UnitFlags, Units
from .._solution import RESULTS, appended
from .._state import SLACK
from ._frame import Frame, NodeFrame, sample_frame
from ._path import Reduced, lagrange_of_points, size_of, total_growth, weight_of


class Course(eqx.Module):
    """What the neurons move under: the residual at the nodes of a step of this length.

    `fine` is the residual at all points that the neurons left in the sweep before. It is of higher
    order than the polynomial through the nodes, whose integral is exact rather than its values,
    and tells when a unit ceases to slide.
    """

    problem: Problem
    log_scale: PerNeuron  # at its beginning
    residual: Float[Array, "nodes samples"]
    fine: Float[Array, "points samples"]
    length: Scalar

    def residual_at(self, s: PerNeuron) -> Units:
        """r at a time of each neuron."""
        return jnp.tensordot(lagrange_of_points(s), self.fine, axes=[[0], [0]])


class StepEvents(eqx.Module):
    """The events of one step, in no order; those of time inf are none.

    kink: by how much r' jumps, to the accuracy of a bound; where a unit ends to slide, which it
        does at alpha = 0 or 1, r' is continuous and it is r'' that jumps.
    """

    time: Float[Array, " places"]
    neuron: Int[Array, " places"]
    sample: Int[Array, " places"]
    before: Int[Array, " places"]
    after: Int[Array, " places"]
    kink: Float[Array, " places"]
    count: Int[Array, ""]

    @classmethod
    def empty(cls, places: int) -> "StepEvents":
        unit = jnp.full((places,), -1, jnp.int32)
        mode = jnp.full((places,), -1, jnp.int8)
        return cls(
            jnp.full((places,), jnp.inf), unit, unit, mode, mode, jnp.zeros((places,)),
            jnp.array(0, jnp.int32),
        )  # fmt: skip

    def add(self, changed, time, neuron, sample, before, after, kink) -> "StepEvents":
        new = (
            time, neuron.astype(jnp.int32), sample.astype(jnp.int32), before.astype(jnp.int8),
            after.astype(jnp.int8), kink,
        )  # fmt: skip
        buffers = (self.time, self.neuron, self.sample, self.before, self.after, self.kink)
        return StepEvents(*appended(buffers, self.count, changed, new))


class Walk(eqx.Module):
    """The neurons; w = kept w(step start) + combination @ x, all over 2^exponent e^growth."""

    index: Int[Array, " neurons"]  # which neurons of the network these are
    time: PerNeuron  # in [0, 1]
    target: PerNeuron  # the next hop ends here at the latest
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
    nodes: NodeFrame | None  # what the residual is to it there, unless that is cheap to have
    # the record
    events: StepEvents
    hops: Int[Array, ""]
    ambiguous: Int[Array, ""]
    result: RESULTS

    def rows(self, at) -> "Walk":
        """Some of the neurons."""
        return _over_neurons(lambda leaf, axis: jnp.take(leaf, at, axis=axis), self, self)

    def with_rows(self, chosen, few: "Walk") -> "Walk":
        """With some of the neurons, and the record, from `few`; those beyond the last are left."""

        def put(leaf, new, axis):
            where = (slice(None),) * axis + (chosen,)
            return leaf.at[where].set(new, mode="drop")

        return _over_neurons(put, few, self, few)

    def frame(self, course: Course) -> Frame:
        return sample_frame(course, self.pattern) if self.nodes is None else self.nodes

    def slack(self, problem: Problem) -> Units:
        return SLACK * size_of(self.reduced.output, self.reduced.balance)[:, None] * problem.length

    def side(self) -> Units:
        return jnp.where(self.pattern.mode == _modes.ACTIVE, 1.0, -1.0)

    def total_growth(self) -> PerNeuron:
        return total_growth(self.growth, self.exponent)


def _over_neurons(function, record: Walk, *walks: Walk) -> Walk:
    """function(*leaves, axis of the neurons) of what belongs to neurons; the rest of `record`."""

    def first(walk: Walk):
        return (
            walk.index, walk.time, walk.target, walk.reduced.output, walk.reduced.balance,
            walk.preactivation, walk.combination, walk.kept, walk.growth, walk.exponent,
            walk.pattern, walk.armed, walk.pending,
        )  # fmt: skip

    def second(walk: Walk):
        one = (walk.reduced.overlap,)
        return one if walk.nodes is None else (*one, walk.nodes.force)

    def third(walk: Walk):
        return () if walk.nodes is None else (walk.nodes.inner,)

    new = record
    for axis, fields in enumerate((first, second, third)):
        if not fields(record):
            continue
        leaves = jax.tree.map(lambda *ls: function(*ls, axis), *map(fields, walks))  # noqa: B023
        new = eqx.tree_at(fields, new, leaves)
    return new


def kink_of(course: Course, walk: Walk, neuron, sample, residual) -> jax.Array:
    """weight a^2 |r_k| |x_k|^2 / n, a bound of the jump of r' when this unit switches."""
    samples = course.problem.labels.shape[0]
    k = jnp.minimum(sample, samples - 1)
    log_scale = course.log_scale[neuron] + walk.total_growth()[neuron]
    pull = jnp.abs(residual) * jnp.diag(course.problem.gram)[k] / samples
    return weight_of(log_scale) * walk.reduced.output[neuron] ** 2 * pull

"""What happens on a step, for each of several flows ("lanes") whose neurons walk together."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from ._collocation import POINTS
from ._path import weight_of
from ._walk import Course, Walk


class StepEvents(eqx.Module):
    """The events of one step, in no order; those behind the first `count` are none.

    kink: by how much r' jumps, to the accuracy of a bound; where a unit ends to slide, which it
        does at alpha = 0 or 1, r' is continuous and it is r'' that jumps.
    """

    time: Float[Array, "*lanes places"]
    neuron: Int[Array, "*lanes places"]
    sample: Int[Array, "*lanes places"]
    before: Int[Array, "*lanes places"]
    after: Int[Array, "*lanes places"]
    kink: Float[Array, "*lanes places"]
    count: Int[Array, "*lanes"]

    @classmethod
    def empty(cls, lanes: int, places: int) -> "StepEvents":
        shape = (lanes, places)
        unit, mode = jnp.full(shape, -1, jnp.int32), jnp.full(shape, -1, jnp.int8)
        return cls(
            jnp.full(shape, jnp.inf),
            unit,
            unit,
            mode,
            mode,
            jnp.zeros(shape),
            jnp.zeros((lanes,), jnp.int32),
        )

    def present(self) -> Bool[Array, " places"]:
        """Of one lane."""
        return jnp.arange(self.time.shape[0], dtype=jnp.int32) < self.count

    def add(self, lane, changed, time, neuron, sample, before, after, kink) -> "StepEvents":
        """Those of these events, each of a lane and in the order of lanes, that `changed`
        something."""
        place = self.count[lane] + _rank(lane, changed, self.count.shape[0])
        place = jnp.where(changed, place, self.time.shape[1])

        def put(buffer, values):
            return buffer.at[lane, place].set(values.astype(buffer.dtype), mode="drop")

        new = (time, neuron, sample, before, after, kink)
        old = (self.time, self.neuron, self.sample, self.before, self.after, self.kink)
        count = self.count.at[lane].add(changed.astype(self.count.dtype))
        return StepEvents(*map(put, old, new), count=count)


def _rank(lane, changed, lanes: int):
    """How many before it changed something in the same lane; `lane` does not decrease."""
    changed = changed.astype(jnp.int32)
    before = jnp.cumsum(changed) - changed
    if lanes == 1:
        return before
    of_lanes_before = jnp.full((lanes,), changed.shape[0], jnp.int32).at[lane].min(before)
    return before - of_lanes_before[lane]


class Worth(eqx.Module):
    """Which kinks make it useless to go on: the first of this strength, and before this time."""

    strength: Float[Array, "*lanes"]
    before: Float[Array, "*lanes"]

    @classmethod
    def always(cls) -> "Worth":
        return cls(jnp.array(jnp.inf), jnp.array(0.0))


class Record(eqx.Module):
    """events; useless_from: nobody need go further, the step will end before; ambiguous: units that
    could as well have left to the other side of a boundary; and why a flow cannot go on."""

    events: StepEvents
    useless_from: Float[Array, "*lanes"]
    ambiguous: Int[Array, "*lanes"]
    chatters: Bool[Array, "*lanes"]
    overflows: Bool[Array, "*lanes"]  # the room for sliding units
    parallel: Bool[Array, "*lanes"]

    @classmethod
    def empty(cls, lanes: int, places: int) -> "Record":
        no = jnp.zeros((lanes,), bool)
        zero = jnp.zeros((lanes,), jnp.array(0).dtype)
        never = jnp.full((lanes,), jnp.inf)
        return cls(StepEvents.empty(lanes, places), never, zero, no, no, no)

    def add(self, worth: Worth, lane, changed, time, neuron, sample, before, after, kink):
        """With these events, each of a lane."""
        events = self.events.add(lane, changed, time, neuron, sample, before, after, kink)
        shows = jump(before, kink) * jnp.minimum(time, 1.0 - time)
        strong = shows > worth.strength[lane]
        strong = strong & changed & (time < worth.before[lane])
        useless_from = self.useless_from.at[lane].min(jnp.where(strong, time, jnp.inf))
        return eqx.tree_at(lambda r: (r.events, r.useless_from), self, (events, useless_from))

    def going(self, walk: Walk, lane) -> Bool[Array, " neurons"]:
        """Which neurons, each of a lane, are still on their way, and useful there."""
        useful = ~self.failed()[lane] & (walk.time <= self.useless_from[lane])
        return (walk.goal < len(POINTS)) & useful

    def failed(self) -> Bool[Array, "*lanes"]:
        return self.chatters | self.overflows | self.parallel


def jump(before, kink):
    """That of r', which is continuous where a unit ceases to slide."""
    return jnp.where(before == _modes.SLIDING, 0.0, kink)


def kink_of(course: Course, walk: Walk, rows, sample, residual) -> jax.Array:
    """weight a^2 |r_k| |x_k|^2 / n, a bound of the jump of r' when this unit switches."""
    k = jnp.minimum(sample, course.samples - 1)
    log_scale = course.log_scale[rows] + walk.total_growth()[rows]
    pull = jnp.abs(residual) * jnp.diag(course.gram)[k] / course.samples
    return weight_of(log_scale) * walk.reduced.output[rows] ** 2 * pull

"""The events of a step, for each of several flows ("lanes") whose neurons move together."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._events import Ambiguity
from .._indexing import of_lanes
from .._recording import AmbiguousNeurons, coded
from ._collocation import POINTS
from ._generator import Generator
from ._moving_neurons import MovingNeurons
from ._propagator import weight_of

MOST_AMBIGUOUS = (
    8  # neurons of one step for which the flow is not determined that there is room for
)


class StepEvents(eqx.Module):
    """The events of one step, in no order; those behind the first `count` are none.

    numbers: the time, kink and jump of each; units: its neuron, and `coded`
        its boundary and modes.

    kink: by how much r' jumps, to the accuracy of a bound.
    jump: the same; but of a unit that leaves a slide, which it does at alpha = 0 or 1, so that r'
        is continuous and r'' jumps: what a polynomial misses as much of.
    """

    numbers: Float[Array, "*lanes places 3"]
    units: Int[Array, "*lanes places 2"]
    count: Int[Array, "*lanes"]

    @classmethod
    def empty(cls, lanes: int, places: int) -> "StepEvents":
        nothing = jnp.zeros((lanes, places, 3)).at[..., 0].set(jnp.inf)
        return cls(
            nothing, jnp.full((lanes, places, 2), -1, jnp.int32), jnp.zeros(lanes, jnp.int32)
        )

    @property
    def time(self) -> Float[Array, "*lanes places"]:
        return self.numbers[..., 0]

    @property
    def kink(self) -> Float[Array, "*lanes places"]:
        return self.numbers[..., 1]

    @property
    def jump(self) -> Float[Array, "*lanes places"]:
        return self.numbers[..., 2]

    def present(self) -> Bool[Array, " places"]:
        """Of one lane."""
        return jnp.arange(self.time.shape[0], dtype=jnp.int32) < self.count

    def add(self, lane, changed, time, neuron, sample, before, after, kink, jump) -> "StepEvents":
        """Those of these events, each of a lane and in the order of lanes, that `changed`
        something."""
        lanes, places, _ = self.numbers.shape
        place = self.count[lane] + _rank(lane, changed, lanes)
        place = jnp.where(changed, place, places)

        def put(buffer, columns):
            rows = jnp.stack([column.astype(buffer.dtype) for column in columns], axis=-1)
            return buffer.at[lane, place].set(rows, mode="drop")

        numbers = put(self.numbers, (time, kink, jump))
        units = put(self.units, (neuron, coded(sample, before, after)))
        return StepEvents(numbers, units, of_lanes(lane, lanes, changed, "add", self.count))


def _rank(lane, changed, lanes: int):
    """How many before it changed something in the same lane; `lane` does not decrease."""
    changed = changed.astype(jnp.int32)
    before = jnp.cumsum(changed) - changed
    if lanes == 1:
        return before
    of_lanes_before = jnp.full((lanes,), changed.shape[0], jnp.int32).at[lane].min(before)
    return before - of_lanes_before[lane]


class Truncation(eqx.Module):
    """Which kinks make it useless to go on: the first of this strength, and before this time."""

    strength: Float[Array, "*lanes"]
    before: Float[Array, "*lanes"]

    @classmethod
    def always(cls) -> "Truncation":
        return cls(jnp.array(jnp.inf), jnp.array(0.0))


class Record(eqx.Module):
    """events; useless_from: nobody need go further, the step will end before; ambiguous: neurons
    for which the flow was not determined; and why a flow cannot go on."""

    events: StepEvents
    useless_from: Float[Array, "*lanes"]
    ambiguous: AmbiguousNeurons  # times in units of the step
    chatters: Bool[Array, "*lanes"]
    overflows: Bool[Array, "*lanes"]  # the room for sliding units

    @classmethod
    def empty(cls, lanes: int, places: int, boundaries: int) -> "Record":
        no = jnp.zeros((lanes,), bool)
        never = jnp.full((lanes,), jnp.inf)
        nobody = AmbiguousNeurons.none(MOST_AMBIGUOUS, boundaries)
        nobody = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (lanes, *leaf.shape)), nobody)
        return cls(StepEvents.empty(lanes, places), never, nobody, no, no)

    def add(
        self,
        truncation: Truncation,
        lane,
        changed,
        time,
        neuron,
        sample,
        before,
        after,
        kink,
        jump,
    ):
        """With these events, each of a lane."""
        events = self.events.add(lane, changed, time, neuron, sample, before, after, kink, jump)
        shows = jump * jnp.minimum(time, 1.0 - time)
        strong = shows > truncation.strength[lane]
        strong = strong & changed & (time < truncation.before[lane])
        since, lanes = jnp.where(strong, time, jnp.inf), len(self.useless_from)
        useless_from = of_lanes(lane, lanes, since, "min", self.useless_from)
        return eqx.tree_at(lambda r: (r.events, r.useless_from), self, (events, useless_from))

    def add_ambiguous(self, lane, present, time, neuron, ambiguity: Ambiguity) -> "Record":
        """With these neurons, where for them the flow was not determined."""
        doubtful = present & jnp.any(ambiguity.at, axis=1)
        old = self.ambiguous
        place = old.count[lane] + _rank(lane, doubtful, old.count.shape[0])
        place = jnp.where(doubtful, place, old.time.shape[1])
        time = old.time.at[lane, place].set(time, mode="drop")
        columns = AmbiguousNeurons.columns(neuron, ambiguity)
        units = old.units.at[lane, place].set(columns, mode="drop")
        count = of_lanes(lane, len(old.count), doubtful, "add", old.count)
        return eqx.tree_at(lambda r: r.ambiguous, self, AmbiguousNeurons(time, units, count))

    def going(self, moving: MovingNeurons, lane) -> Bool[Array, " neurons"]:
        """Which neurons, each of a lane, are still on their way, and useful there."""
        useful = ~self.failed()[lane] & (moving.time <= self.useless_from[lane])
        return (moving.goal < len(POINTS)) & useful

    def failed(self) -> Bool[Array, "*lanes"]:
        return self.chatters | self.overflows


def kink_of(generator: Generator, moving: MovingNeurons, rows, boundary, jump) -> jax.Array:
    """weight a^2 |F^+ - F^-| |u_b|^2 / n, a bound of the jump of r' when this unit switches."""
    k = jnp.minimum(boundary, generator.boundaries - 1)
    log_scale = generator.log_scale[rows] + moving.total_growth()[rows]
    pull = jnp.abs(jump) * jnp.diag(generator.gram)[k] / generator.samples
    return weight_of(log_scale) * moving.reduced.output[rows] ** 2 * pull

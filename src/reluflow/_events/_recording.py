"""What happened in the steps of a run, in buffers that a step writes in place.

A scatter is a loop on a CPU, so what belongs to one event is written at once: its time, and in two
integers its neuron and the code of the rest.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._model._arrangement import Arrangement
from .._model._shapes import Buffer
from . import Ambiguity
from ._event_buffers import Ambiguities, Events

_MOST_AMBIGUITIES = 64  # that are kept
_MODES = 4
_PER_BOUNDARY = _MODES**2


def coded(boundary, before, after) -> Int[Array, "*events"]:
    """A boundary and the modes before and after as one number; what is -1 has the code -1."""
    boundary, before, after = (each.astype(jnp.int32) for each in (boundary, before, after))
    return jnp.where(boundary < 0, -1, boundary * _PER_BOUNDARY + before * _MODES + after)


def decoded(code: Int[Array, "*events"]):
    """(boundary, before, after)."""
    boundary = code >> 4  # rounds down: -1 stays
    before, after = ((code >> 2) & 3).astype(jnp.int8), (code & 3).astype(jnp.int8)
    none = code < 0
    return boundary, jnp.where(none, -1, before), jnp.where(none, -1, after)


class Switches(eqx.Module):
    """The units whose mode changed in one step: up to `places`, those that did marked.

    units: the neuron of each, and `coded` its boundary and modes.
    """

    time: Float[Array, "*#batch places"]
    units: Int[Array, "*#batch places 2"]
    changed: Bool[Array, "*#batch places"]

    @classmethod
    def none(cls, places: int) -> "Switches":
        time, units = jnp.full((places,), jnp.inf), jnp.full((places, 2), -1, jnp.int32)
        return cls(time, units, jnp.zeros((places,), bool))

    def named(self, arrangement: Arrangement) -> "Switches":
        """With the first sample of each boundary in place of its number."""
        if arrangement.incidence is None:
            return self
        boundary, *modes = decoded(self.units[..., 1])
        code = coded(arrangement.samples_of(boundary), *modes)
        return eqx.tree_at(lambda s: s.units, self, self.units.at[..., 1].set(code))


class EventBuffer(eqx.Module):
    """The events so far, as `Switches`, in the order of time; those behind `count` are none."""

    time: Float[Buffer, "*#batch events"]
    units: Int[Buffer, "*#batch events 2"]
    count: Int[Array, "*#batch"]

    @classmethod
    def empty(cls, max_events: int) -> "EventBuffer":
        nothing = Switches.none(max_events)
        return cls(nothing.time, nothing.units, jnp.array(0, jnp.int32))

    def buffers(self):
        return self.time, self.units

    def record(self, new: Switches) -> "EventBuffer":
        """With the units that changed written behind the others. What has no room is dropped, and
        counted."""
        place = self.count + jnp.cumsum(new.changed, dtype=jnp.int32) - 1
        place = jnp.where(new.changed, place, self.time.shape[-1])
        time = self.time.at[place].set(new.time, mode="drop")
        units = self.units.at[place].set(new.units, mode="drop")
        return EventBuffer(time, units, self.count + jnp.sum(new.changed, dtype=jnp.int32))

    def events(self) -> Events:
        return Events(self.time, self.units[..., 0], *decoded(self.units[..., 1]), self.count)


class AmbiguousNeurons(eqx.Module):
    """Neurons for which the flow was not determined: those of a step, or of all steps so far.

    units: the neuron of each, the kind of its ambiguity, and for each boundary, or sample, whether
        it is about that.
    """

    time: Float[Buffer, "*#batch places"]
    units: Int[Buffer, "*#batch places columns"]
    count: Int[Array, "*#batch"]  # may be more than there are places

    @classmethod
    def none(cls, places: int, boundaries: int) -> "AmbiguousNeurons":
        time = jnp.full((places,), jnp.inf)
        units = jnp.zeros((places, 2 + boundaries), jnp.int32).at[:, :2].set(-1)
        return cls(time, units, jnp.array(0, jnp.int32))

    @classmethod
    def so_far(cls, samples: int) -> "AmbiguousNeurons":
        return cls.none(_MOST_AMBIGUITIES, samples)

    @classmethod
    def of(cls, ambiguity: Ambiguity, time, neuron) -> "AmbiguousNeurons":
        """One neuron, if it is."""
        count = jnp.any(ambiguity.at).astype(jnp.int32)
        units = cls.columns(jnp.asarray(neuron), ambiguity)
        return cls(jnp.asarray(time)[None], units[None], count)

    @staticmethod
    def columns(neuron, ambiguity: Ambiguity) -> Int[Array, "*rows columns"]:
        columns = (neuron[..., None], ambiguity.kind[..., None], ambiguity.at)
        return jnp.concatenate([column.astype(jnp.int32) for column in columns], axis=-1)

    def named(self, arrangement: Arrangement) -> "AmbiguousNeurons":
        """With the samples on the boundaries in place of these."""
        if arrangement.incidence is None:
            return self
        at = arrangement.touching(self.units[..., 2:] > 0).astype(jnp.int32)
        units = jnp.concatenate([self.units[..., :2], at], axis=-1)
        return eqx.tree_at(lambda a: a.units, self, units)

    def buffers(self):
        return self.time, self.units

    def record(self, new: "AmbiguousNeurons") -> "AmbiguousNeurons":
        """With those of a step written behind the others."""
        number, places = jnp.arange(new.time.shape[0], dtype=jnp.int32), self.time.shape[-1]
        place = jnp.where(number < new.count, self.count + number, places)
        time = self.time.at[place].set(new.time, mode="drop")
        units = self.units.at[place].set(new.units, mode="drop")
        return AmbiguousNeurons(time, units, self.count + new.count)

    def ambiguities(self) -> Ambiguities:
        neuron, kind = self.units[..., 0], self.units[..., 1].astype(jnp.int8)
        return Ambiguities(self.time, neuron, kind, self.units[..., 2:] > 0, self.count)

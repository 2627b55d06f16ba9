"""What happened on the way: events and ambiguities, in buffers of fixed length."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from . import _modes
from ._arrangement import Arrangement
from ._checks import check_memory
from ._events import KINDS, Ambiguity
from ._shapes import Buffer

_MOST_AMBIGUITIES = 64  # that are kept


class Switches(eqx.Module):
    """The units whose mode changed in one step: up to `places`, those that did marked."""

    time: Float[Array, "*#batch places"]
    neuron: Int[Array, "*#batch places"]
    boundary: Int[Array, "*#batch places"]
    before: Int[Array, "*#batch places"]
    after: Int[Array, "*#batch places"]
    changed: Bool[Array, "*#batch places"]

    @classmethod
    def none(cls, places: int) -> "Switches":
        unit, mode = jnp.full((places,), -1, jnp.int32), jnp.full((places,), -1, jnp.int8)
        time = jnp.full((places,), jnp.inf, jnp.float64)
        return cls(time, unit, unit, mode, mode, jnp.zeros((places,), bool))

    def named(self, arrangement: Arrangement) -> "Switches":
        """With the first sample of each boundary in place of its number."""
        return eqx.tree_at(lambda s: s.boundary, self, arrangement.samples_of(self.boundary))


class AmbiguousNeurons(eqx.Module):
    """Neurons for which the flow was not determined in one step: up to `places`, those marked."""

    time: Float[Array, "*#batch places"]
    neuron: Int[Array, "*#batch places"]
    kind: Int[Array, "*#batch places"]
    at: Bool[Array, "*#batch places _"]
    count: Int[Array, "*#batch"]  # may be more than there are places

    @classmethod
    def none(cls, places: int, boundaries: int) -> "AmbiguousNeurons":
        unit, kind = jnp.full((places,), -1, jnp.int32), jnp.full((places,), -1, jnp.int8)
        at = jnp.zeros((places, boundaries), bool)
        time = jnp.full((places,), jnp.inf, jnp.float64)
        return cls(time, unit, kind, at, jnp.array(0, jnp.int32))

    @classmethod
    def of(cls, ambiguity: Ambiguity, time, neuron) -> "AmbiguousNeurons":
        """One neuron, if it is."""
        count = jnp.any(ambiguity.at).astype(jnp.int32)
        rows = (jnp.asarray(time)[None], jnp.asarray(neuron)[None], ambiguity.kind[None])
        return cls(*rows, ambiguity.at[None], count)

    def named(self, arrangement: Arrangement) -> "AmbiguousNeurons":
        """With the samples on the boundaries in place of these."""
        return eqx.tree_at(lambda a: a.at, self, arrangement.touching(self.at))


def appended(buffers, count, changed, new) -> list:
    """The buffers with what changed of `new` written behind the first `count`, and the new count.

    In place; what has no room is dropped, and counted.
    """
    place = count + jnp.cumsum(changed.astype(jnp.int32)) - 1
    place = jnp.where(changed, place, buffers[0].shape[-1])
    written = [b.at[place].set(value, mode="drop") for b, value in zip(buffers, new, strict=True)]
    return [*written, count + jnp.sum(changed, dtype=jnp.int32)]


def check_max_events(max_events: int) -> None:
    """Raises ValueError where the buffers of `Events` would not fit into the memory."""
    size = 18 * max_events  # bytes: a time, two int32, two int8
    if max_events >= 2**31:  # they are counted in int32
        raise ValueError(
            f"Argument `max_events` must be below 2^31, but it is {max_events}: a buffer of as "
            f"many events would take {size / 2**30:.4g} GiB."
        )
    check_memory("max_events", size, f"a buffer of {max_events} events")


class Events(eqx.Module):
    """Changes of mode, in the order of time; buffers of fixed length, padded after `count`.

    Fields, each of shape (max_events,) unless noted:
        time: when; padded with inf.
        neuron, boundary: which unit; padded with -1. A boundary is named by its sample, or, of
            several inputs on one line through 0, by the first (`Dataset.boundaries` has all).
        before, after: its mode on either side, see `rf.Mode`: 0 inactive, 1 active, 2 sliding,
            3 resting (on its boundary for good); padded with -1.
        count: how many there were, shape (); may exceed max_events only with the result
            `event_buffer_full`.
    """

    time: Float[Buffer, "*#batch events"]
    neuron: Int[Buffer, "*#batch events"]
    boundary: Int[Buffer, "*#batch events"]
    before: Int[Buffer, "*#batch events"]
    after: Int[Buffer, "*#batch events"]
    count: Int[Array, "*#batch"]

    @classmethod
    def empty(cls, max_events: int) -> "Events":
        unit = jnp.full((max_events,), -1, jnp.int32)
        mode = jnp.full((max_events,), -1, jnp.int8)
        return cls(
            jnp.full((max_events,), jnp.inf, jnp.float64),
            unit,
            unit,
            mode,
            mode,
            jnp.array(0, jnp.int32),
        )

    def buffers(self):
        return self.time, self.neuron, self.boundary, self.before, self.after

    def full(self) -> Bool[Array, "*#batch"]:
        """Whether more events happened than there is room for."""
        return self.count > self.time.shape[-1]

    def record(self, switches: Switches) -> "Events":
        """With the units that changed written behind the others, in place."""
        new = (switches.time, switches.neuron, switches.boundary, switches.before, switches.after)
        return Events(*appended(self.buffers(), self.count, switches.changed, new))

    @property
    def sample(self) -> Int[Array, "*#batch events"]:
        """The sample whose boundary it is; the first of several."""
        return self.boundary

    def tally(self) -> dict[str, int]:
        """How many events of each kind, by the table of the engine's boundary logic.

        switch on, switch off: the boundary is crossed; slide: a unit begins to slide; stop: it
        comes to rest on its boundary; leave: it leaves a boundary it slid along, or rested on.
        Needs concrete events of a single trajectory.
        """
        before, after = np.asarray(self.before), np.asarray(self.after)
        off, on, slide, rest = _modes.INACTIVE, _modes.ACTIVE, _modes.SLIDING, _modes.RESTING
        held = np.isin(before, (slide, rest))
        return {
            "switch on": int(np.sum((before == off) & (after == on))),
            "switch off": int(np.sum((before == on) & (after == off))),
            "slide": int(np.sum(np.isin(before, (off, on)) & (after == slide))),
            "stop": int(np.sum((before >= 0) & (after == rest))),
            "leave": int(np.sum(held & np.isin(after, (off, on)))),
        }


class Ambiguities(eqx.Module):
    """Where the flow was not determined, in the order of time; padded after `count`.

    Fields, each of shape (places,) unless noted:
        time: when; padded with inf.
        neuron: which; padded with -1.
        kind: what is not determined, and what was taken: an index of `KINDS`.
        at: the samples on the boundaries it is about, shape (places, samples).
        count: how many there were, shape (); those beyond the places are counted only.
    """

    time: Float[Buffer, "*#batch places"]
    neuron: Int[Buffer, "*#batch places"]
    kind: Int[Buffer, "*#batch places"]
    at: Bool[Buffer, "*#batch places samples"]
    count: Int[Array, "*#batch"]

    KINDS: ClassVar = KINDS

    @classmethod
    def empty(cls, samples: int) -> "Ambiguities":
        nothing = AmbiguousNeurons.none(_MOST_AMBIGUITIES, samples)
        return cls(nothing.time, nothing.neuron, nothing.kind, nothing.at, nothing.count)

    def buffers(self):
        return self.time, self.neuron, self.kind, self.at

    def record(self, new: AmbiguousNeurons) -> "Ambiguities":
        """With those of a step written behind the others, in place."""
        number = jnp.arange(new.time.shape[0], dtype=jnp.int32)
        places = self.time.shape[-1]
        place = jnp.where(number < new.count, self.count + number, places)
        rows = (new.time, new.neuron, new.kind, new.at)
        time, neuron, kind, at = (
            b.at[place].set(row, mode="drop") for b, row in zip(self.buffers(), rows, strict=True)
        )
        return Ambiguities(time, neuron, kind, at, self.count + new.count)

    def lines(self) -> list[str]:
        """One for each. Needs concrete values of a single trajectory."""
        kept = range(min(int(self.count), self.time.shape[-1]))
        return [
            f"t = {float(self.time[i]):.10g}, neuron {int(self.neuron[i])}, boundaries "
            f"{np.flatnonzero(self.at[i]).tolist()}: {KINDS[int(self.kind[i])]}"
            for i in kept
        ]

"""What happened on the way: events and ambiguities, in arrays of fixed length."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._model import _modes
from .._model._shapes import Buffer
from .._support._checks import check_memory
from . import KINDS

# A time, two int32 and two int8; and during the run (`EventBuffer`) a time and two int32.
BYTES_OF_EVENT = 18 + 16


def check_max_events(max_events: int) -> None:
    """Raises ValueError where the buffers of `Events` would not fit into the memory."""
    size = BYTES_OF_EVENT * max_events
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
        """Without places."""
        unit, at = jnp.zeros((0,), jnp.int32), jnp.zeros((0, samples), bool)
        return cls(jnp.zeros((0,)), unit, unit.astype(jnp.int8), at, jnp.array(0, jnp.int32))

    def lines(self) -> list[str]:
        """One for each. Needs concrete values of a single trajectory."""
        kept = range(min(int(self.count), self.time.shape[-1]))
        return [
            f"t = {float(self.time[i]):.10g}, neuron {int(self.neuron[i])}, boundaries "
            f"{np.flatnonzero(self.at[i]).tolist()}: {KINDS[int(self.kind[i])]}"
            for i in kept
        ]

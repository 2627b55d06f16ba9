"""What an integration returns: the trajectory, its events, and how it ended."""

import inspect
import textwrap
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from . import _modes
from ._checks import as_float64, check_memory, is_concrete, shortened
from ._dataset import Dataset
from ._events import KINDS, Ambiguity
from ._flow_state import FlowState
from ._network import Network
from ._shapes import Buffer

_MOST_AMBIGUITIES = 64  # that are kept


class RESULTS(eqx.Enumeration):
    """How an integration ended, and what to try where it did not end well.

    `sol.result == rf.RESULTS.successful` compares, `rf.RESULTS[sol.result]` is the message. The
    members, with their messages:
    """

    successful = ""
    loss_reached = "The loss fell to `stop_loss`, and the integration stopped there."
    rest_reached = "The flow came to rest, and the integration stopped there."
    max_steps_reached = (
        "The maximum number of attempted steps was reached before t1. Increase `max_steps`, "
        "loosen `rtol`, or use a solver of higher order."
    )
    event_buffer_full = (
        "More units changed their mode than the event buffer holds. Increase `max_events`."
    )
    sliding_buffer_full = (
        "A neuron reached more boundaries at once than the integrator has room for. Increase "
        "`max_sliding` of the integrator (at most min(samples, dim) are independent)."
    )
    step_collapsed = (
        "The step size fell to rounding without meeting the tolerance. Loosen `rtol`: float64 "
        "cannot resolve this flow any further."
    )
    chattering = (
        "A neuron kept switching without time moving on: its modes at this boundary are not "
        "determined to rounding. Perturb the initialisation or the data slightly, and see "
        "whether the flow is unique there (a repulsive boundary is not)."
    )
    parallel_inputs = (
        "A neuron reached the common boundary of two parallel inputs whose residuals have opposite "
        "signs: there the two units switch as one, which is not implemented. Perturb one of the "
        "inputs, or replace the two by one sample."
    )
    invalid_argument = (
        "An argument that was traced, so that only the compiled program could look at it, is not "
        "one that rf.flow takes. With throw=True the error names it."
    )
    not_finite = "NaN or infinity appeared in the flow. Look for data or weights of extreme size."
    diverged = (
        "The loss became infinite or NaN, or the weights moved further than the fall of the loss "
        "allows: the step of the descent is too large. Reduce it."
    )


# Members are no attributes that `help` would show: they stand in the docstring.
RESULTS.__doc__ = f"{inspect.cleandoc(RESULTS.__doc__ or '')}\n\n" + "\n".join(
    textwrap.fill(
        f"{name}: {RESULTS[item] or 'The flow came to t1.'}", 92, subsequent_indent="    "
    )
    for name, item in RESULTS._name_to_item.items()
)


def tally_of(result: RESULTS) -> dict[str, int]:
    """How many lanes ended in which way, by the names of those ways; of concrete results."""
    counts = {name: int(np.sum(result == item)) for name, item in RESULTS._name_to_item.items()}
    return {name: count for name, count in counts.items() if count}


def ended_well(result: RESULTS) -> Bool[Array, "*#batch"]:
    """Whether a run came to an end that it was asked for."""
    good = (RESULTS.successful, RESULTS.loss_reached, RESULTS.rest_reached)
    return (result == good[0]) | (result == good[1]) | (result == good[2])


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


class AmbiguousNeurons(eqx.Module):
    """Neurons for which the flow was not determined in one step: up to `places`, those marked."""

    time: Float[Array, "*#batch places"]
    neuron: Int[Array, "*#batch places"]
    kind: Int[Array, "*#batch places"]
    at: Bool[Array, "*#batch places boundaries"]
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
        neuron, boundary: which unit (j, k); padded with -1. Boundary k is that of sample k.
        before, after: its mode on either side: 0 inactive, 1 active, 2 sliding, 3 resting (on
            its boundary for good); padded with -1.
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
        """The sample whose boundary it is."""
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
        at: the boundaries it is about, shape (places, samples).
        count: how many there were, shape (); those beyond the places are counted only.
    """

    time: Float[Buffer, "*#batch places"]
    neuron: Int[Buffer, "*#batch places"]
    kind: Int[Buffer, "*#batch places"]
    at: Bool[Buffer, "*#batch places boundaries"]
    count: Int[Array, "*#batch"]

    KINDS: ClassVar = KINDS

    @classmethod
    def empty(cls, boundaries: int) -> "Ambiguities":
        nothing = AmbiguousNeurons.none(_MOST_AMBIGUITIES, boundaries)
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


class Solution(eqx.Module):
    """A trajectory of the flow, or of a descent.

    Every time and loss is in the papers' normalisation, L = 1/(2n) sum r^2 and theta' = -grad L.

    Fields (each with a leading lane axis when made under `jax.vmap`):
        ts: saved times, shape (time,); padded with inf where the run ended early.
        losses: L at those times, shape (time,); padded with inf.
        networks: the network at those times (a `Network` with a leading time axis), or what the
            `fn` of `saveat` returned.
        final: the network where the run ended.
        events: the changes of mode on the way.
        ambiguities: where the flow was not determined: when, which neuron, why.
        result: a member of `rf.RESULTS`, whose message (`rf.RESULTS[sol.result]`) says what to try:
            `successful`, `loss_reached`, `rest_reached`, `max_steps_reached`, `event_buffer_full`,
            `sliding_buffer_full`, `step_collapsed`, `chattering`, `parallel_inputs`,
            `invalid_argument`, `not_finite`, `diverged`. `help(rf.RESULTS)` explains each.
        stats: counts of the work done; `t_final`, the time at which the run ended, and
            `loss_final`; `rounding`, by how much rounding may move a prediction, over max|y|,
            beside `rtol`.
        state: where the flow stands, for `rf.flow(solution, t1=later)`; None of a descent.
        data: the data set.
        interpolation: the stored steps, for `evaluate`; None without `SaveAt(dense=True)`.
    """

    ts: Float[Array, "*#batch time"]
    losses: Float[Array, "*#batch time"]
    networks: PyTree
    final: Network
    events: Events
    ambiguities: Ambiguities
    result: RESULTS
    stats: dict[str, PyTree]
    state: FlowState | None
    data: Dataset
    interpolation: Any = None

    def evaluate(self, t) -> Network:
        """The network at time t, as exact as the ends of the steps. Needs `SaveAt(dense=True)`.

        The stored step that holds t is taken again, up to t. Works under `jax.jit`; for a batch of
        solutions, `jax.vmap(lambda sol, t: sol.evaluate(t))(sols, ts)`. With `rf.Boost` it can be
        differentiated in forward mode, in t too; with `rf.RungeKutta` in t alone, in either mode.

        Arguments:
            t: times in [t0, t_final], a scalar or an array of any shape.

        Returns:
            `rf.Network`, with the shape of `t` as its leading axes.

        Raises:
            ValueError: no dense output was asked for, or t lies outside (RuntimeError where t is
                known only when the compiled program runs).
        """
        t = as_float64("t", t)
        if self.interpolation is None:
            raise ValueError(
                "Argument `saveat` of rf.flow must be diffrax.SaveAt(dense=True) for "
                "`Solution.evaluate`, but this solution was made without it."
            )
        begins, last = self.interpolation.steps.begins, self.stats["t_final"]
        if jnp.ndim(last) > 0:
            raise ValueError(
                "`Solution.evaluate` must be called on a single solution, but this one has lanes "
                f"{jnp.shape(last)}; use jax.vmap(lambda sol, t: sol.evaluate(t))(sols, ts)."
            )
        if all(map(is_concrete, (begins, t, last))):  # NumPy compiles nothing
            first = np.asarray(begins)[0]
            if not np.all(
                (first <= np.asarray(t)) & (np.asarray(t) <= np.asarray(last))
            ):  # NaN too
                raise ValueError(
                    f"Argument `t` must lie in [t0, t_final] = [{first}, {last}], but it is {t}."
                )
        else:
            outside = ~((begins[0] <= t) & (t <= last))
            t = eqx.error_if(t, outside, "Argument `t` must lie in [t0, t_final], but it does not.")
        nets = self.interpolation.evaluate(t.ravel() if t.ndim else t, self.final)
        return jax.tree.map(lambda leaf: leaf.reshape(t.shape + leaf.shape[min(t.ndim, 1) :]), nets)

    def __str__(self) -> str:
        if not is_concrete(self.ts):
            return "Solution (traced)"
        if np.ndim(self.stats["num_steps"]) > 0:
            return self._describe_lanes()
        (ended,) = tally_of(self.result)
        ended += f". {RESULTS[self.result]}" if RESULTS[self.result] else ""
        stats = {name: np.asarray(value).item() for name, value in self.stats.items()}
        tally = ", ".join(f"{n} {kind}" for kind, n in self.events.tally().items() if n)
        evaluations, sweeps = stats["num_field_evaluations"], stats["num_sweeps"]
        count = f"{evaluations} field evaluations" if evaluations >= 0 else "uncounted evaluations"
        count = f"{sweeps} sweeps" if sweeps else count
        lines = [
            f"Solution: {ended}",
            f"  network  {self.final}",
            f"  ended    t = {stats['t_final']:.10g}, loss = {stats['loss_final']:.6g}",
            f"  events   {int(self.events.count)}" + (f" ({tally})" if tally else ""),
            f"  steps    {stats['num_accepted_steps']} accepted of {stats['num_steps']} "
            f"attempted, {count}",
            f"  saved    {int(np.sum(np.isfinite(self.ts)))} times",
        ]
        if stats["rounding"] > stats["rtol"]:
            lines.append(
                f"  note     predictions are known to {stats['rounding']:.1g} max|y| only: they "
                "are small differences of large terms, which float64 rounds"
            )
        if count := int(self.ambiguities.count):
            lines.append(f"  note     the flow is not unique: {count} neurons had a choice")
            lines += [f"           {line}" for line in self.ambiguities.lines()[:3]]
            lines += ["           ..."] if count > 3 else []
        return "\n".join(lines)

    def _describe_lanes(self) -> str:
        ends = tally_of(self.result)
        return (
            f"Solution: {sum(ends.values())} lanes {self.ts.shape[:-1]}, "
            + ", ".join(f"{count} {name}" for name, count in ends.items())
            + f", {int(np.sum(self.events.count))} events, "
            f"{int(np.sum(self.stats['num_steps']))} attempted steps"
        )


def saved(sol: Solution) -> np.ndarray:
    """Which places of the buffers of a single trajectory hold a save, shape (time,)."""
    if not (hasattr(sol, "ts") and hasattr(sol, "losses")):
        raise TypeError(f"Argument `sol` must be of type rf.Solution, but it is {shortened(sol)}.")
    ts, losses = np.asarray(sol.ts), np.asarray(sol.losses)
    if ts.ndim != 1:
        raise ValueError(
            f"Argument `sol` must be a single trajectory, but its times have shape {ts.shape}. "
            "Take one lane: `jax.tree.map(lambda leaf: leaf[i], sol)`."
        )
    return np.isfinite(ts) & np.isfinite(losses)

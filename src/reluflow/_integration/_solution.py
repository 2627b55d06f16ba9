"""What an integration returns: the trajectory, its events, and how it ended."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._events._event_buffers import Ambiguities, Events
from .._model._dataset import Dataset
from .._model._losses import AbstractLoss, square
from .._model._network import Network
from .._support._checks import as_float64, is_concrete, shortened
from .._support._padding import without_padding
from ._flow_state import FlowState
from ._results import RESULTS, tally_of


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
            `sliding_buffer_full`, `step_collapsed`, `chattering`, `invalid_argument`,
            `not_finite`, `diverged`. `help(rf.RESULTS)` explains each.
        stats: counts of the work done; `t_final`, the time at which the run ended, and
            `loss_final`; `rounding`, by how much rounding may move a prediction, over max|y|,
            beside `rtol`.
        state: where the flow stands, for `rf.flow(solution, t1=later)`; None of a descent.
        data: the data set.
        interpolation: the stored steps, for `evaluate`; None without `SaveAt(dense=True)`.
        loss: l(h, y), `rf.square` by default.
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
    loss: AbstractLoss = square

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
        if t.size == 0:
            return jax.tree.map(lambda leaf: jnp.zeros(t.shape + leaf.shape), self.final)
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


def cropped(sol: Solution, length: int, max_events: int) -> Solution:
    """With as many places for saves, and for events, as were asked for."""
    if sol.ts.shape[0] > length:
        ts, losses, networks = without_padding((sol.ts, sol.losses, sol.networks), length)
        sol = dataclasses.replace(sol, ts=ts, losses=losses, networks=networks)
    if sol.events.time.shape[0] > max_events:
        sol = eqx.tree_at(_events_of, sol, without_padding(_events_of(sol), max_events))
    return sol


def _events_of(sol: Solution):
    events = sol.events
    return events.time, events.neuron, events.boundary, events.before, events.after

"""What is saved along the way: buffers written in place, one place per saved time."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ._checks import as_float64, is_concrete
from ._dataset import Dataset
from ._loss import loss
from ._network import Network
from ._shapes import Scalar


class Schedule(eqx.Module):
    """`diffrax.SaveAt`, as times: at which to save, and after how many accepted steps.

    times: increasing, with t0 and t1 where they were asked for; ends with an inf that is never
        reached.
    every: save after each so many accepted steps; 0 for never.
    length: how many saves there can be.
    """

    times: Float[Array, " times"]
    every: int = eqx.field(static=True)
    length: int = eqx.field(static=True)
    at_end: bool = eqx.field(static=True)
    fn: Callable = eqx.field(static=True)

    @classmethod
    def of(cls, saveat: diffrax.SaveAt, t0: Scalar, t1: Scalar, max_steps: int) -> "Schedule":
        sub = saveat.subs
        extra = (saveat.solver_state, saveat.controller_state, saveat.made_jump)
        if saveat.dense or any(extra) or not isinstance(sub, diffrax.SubSaveAt):
            raise ValueError(
                "Argument `saveat` must use only `t0`, `t1`, `ts`, `steps` and `fn`, but it is "
                f"{saveat!r}."
            )
        middle = jnp.zeros((0,)) if sub.ts is None else as_float64("saveat.ts", sub.ts)
        _check_times(middle, t0, t1)
        parts = [t0[None]] if sub.t0 else []
        parts.append(middle)
        parts += [t1[None]] if sub.t1 else []
        times = jnp.concatenate([*parts, jnp.full((1,), jnp.inf)])
        every = int(sub.steps)
        length = times.shape[0] - 1 + (max_steps // every if every else 0)
        return cls(times, every, length, bool(sub.t1), sub.fn)


def _check_times(times, t0, t1) -> None:
    if times.ndim != 1:
        raise ValueError(f"Argument `saveat.ts` must be one-dimensional, but it is {times.shape}.")
    if not all(map(is_concrete, (times, t0, t1))) or times.shape[0] == 0:
        return
    ts = np.asarray(times)
    if not np.all(np.diff(ts) >= 0.0):
        raise ValueError("Argument `saveat.ts` must be increasing, but it is not.")
    if not (float(t0) <= ts[0] and ts[-1] <= float(t1)):
        raise ValueError(
            f"Argument `saveat.ts` must lie in [t0, t1] = [{float(t0)}, {float(t1)}], but it "
            f"reaches from {ts[0]} to {ts[-1]}."
        )


class Saved(eqx.Module):
    """The buffers, and how far they are filled: `count` places, `reached` times of the schedule."""

    ts: Float[Array, " saves"]
    losses: Float[Array, " saves"]
    values: PyTree
    count: Int[Array, ""]
    reached: Int[Array, ""]

    @classmethod
    def empty(cls, schedule: Schedule, net: Network, data: Dataset) -> "Saved":
        shapes = eqx.filter_eval_shape(schedule.fn, jnp.zeros(()), net, data)

        def buffer(leaf):
            shape = (schedule.length, *leaf.shape)
            fill = jnp.inf if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0
            return jnp.full(shape, fill, leaf.dtype)

        infinite = jnp.full((schedule.length,), jnp.inf)
        zero = jnp.array(0)
        return cls(infinite, infinite, jax.tree.map(buffer, shapes), zero, zero)

    def buffers(self):
        return self.ts, self.losses, self.values

    def next_time(self, schedule: Schedule) -> Scalar:
        return schedule.times[self.reached]

    def offer(
        self, schedule: Schedule, time: Scalar, accepted, num_accepted, net: Network, data: Dataset
    ) -> "Saved":
        """Saves the state if a time of the schedule has been reached, or a counted step taken."""
        planned = accepted & (time >= self.next_time(schedule))
        counted = accepted & False
        if schedule.every:
            counted = accepted & (num_accepted % schedule.every == 0)
        return self.write(schedule, time, planned | counted, planned, net, data)

    def write(self, schedule, time, due, planned, net: Network, data: Dataset) -> "Saved":
        if schedule.length == 0:
            return self
        due = due & (self.count < schedule.length)
        entry = (time, loss(net, data), schedule.fn(time, net, data))
        buffers = jax.tree.map(
            lambda buffer, value: eqx.internal.buffer_at_set(buffer, self.count, value, pred=due),
            self.buffers(), entry, is_leaf=eqx.internal._loop.common._is_buffer,
        )  # fmt: skip
        return Saved(
            *buffers, self.count + due.astype(self.count.dtype),
            self.reached + planned.astype(self.reached.dtype),
        )  # fmt: skip

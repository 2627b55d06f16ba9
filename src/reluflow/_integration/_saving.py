"""What is saved along the way: buffers written in place, one place per saved time."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._model._dataset import Dataset
from .._model._loss import mean_loss
from .._model._losses import AbstractLoss
from .._model._network import Network
from .._model._shapes import Buffer, Scalar
from .._support._checks import Checks, as_float64, check_memory, is_concrete
from .._support._padding import bytes_of, padded_length

_NETWORK = diffrax.SubSaveAt(t1=True).fn  # what `SaveAt` saves where nothing else is said


class Schedule(eqx.Module):
    """`diffrax.SaveAt`, as times: at which to save, and after how many accepted steps.

    times: increasing, with t0 and t1 where they were asked for; then at least one inf, which is
        never reached.
    asked: how many of them were asked for.
    every: save after each so many accepted steps; 0 for never.
    length: how many saves there can be.
    stored: for how many steps there is room for a dense output; 0 where none is asked for.
    """

    times: Float[Array, " times"]
    asked: Int[Array, ""]
    every: int = eqx.field(static=True)
    length: int = eqx.field(static=True)
    stored: int = eqx.field(static=True)
    at_end: bool = eqx.field(static=True)
    inside: bool = eqx.field(static=True)  # whether there are times before t1
    fn: Callable = eqx.field(static=True)
    loss: AbstractLoss  # which is saved, too

    @classmethod
    def of(
        cls,
        saveat: diffrax.SaveAt,
        loss: AbstractLoss,
        t0: Scalar,
        t1: Scalar,
        max_steps: int,
        checks: Checks,
    ) -> "Schedule":
        if saveat.subs is None and not saveat.dense:
            raise ValueError(
                "Argument `saveat` must ask for something to be saved, such as "
                "diffrax.SaveAt(t1=True), but it is diffrax.SaveAt()."
            )
        # diffrax knows no SubSaveAt that saves nothing: None is what a mere dense output has.
        sub = diffrax.SubSaveAt(t1=True) if saveat.subs is None else saveat.subs
        extra = (saveat.solver_state, saveat.controller_state, saveat.made_jump)
        if any(extra) or not isinstance(sub, diffrax.SubSaveAt):
            raise ValueError(
                "Argument `saveat` must use only `t0`, `t1`, `ts`, `steps`, `dense` and `fn`, but "
                f"it is {saveat!r}."
            )
        at_end = sub.t1 and saveat.subs is not None
        middle = jnp.zeros((0,)) if sub.ts is None else as_float64("saveat.ts", sub.ts)
        _check_times(middle, t0, t1, checks)
        parts = [t0[None]] if sub.t0 else []
        parts.append(middle)
        parts += [t1[None]] if at_end else []
        parts.append(jnp.full((1,), jnp.inf))
        # (NumPy compiles nothing for a length that is new.)
        join = np.concatenate if all(map(is_concrete, parts)) else jnp.concatenate
        times = jnp.asarray(join(parts))
        asked = times.shape[0] - 1
        if not isinstance(sub.steps, int | np.integer) or sub.steps < 0:
            raise ValueError(
                "Argument `saveat.steps` must be an integer of at least 0, or a truth value, but "
                f"it is {sub.steps!r}."
            )
        every = int(sub.steps)
        length = asked + (max_steps // every if every else 0)
        inside = bool(sub.t0) or middle.shape[0] > 0
        stored = max_steps if saveat.dense else 0
        asked_for = (every, length, stored, bool(at_end), inside, sub.fn)
        return cls(times, jnp.array(asked), *asked_for, loss)

    def padded(self, net: Network, data: Dataset) -> "Schedule":
        """With more times that are never reached: a program is compiled for few lengths."""
        asked = self.times.shape[0] - 1
        shapes = (net.neurons, data.samples, data.dim)
        more = padded_length(asked, lambda: _bytes_of_a_save(self.fn, *shapes)) - asked
        if more == 0:
            return self
        pad = np.pad if is_concrete(self.times) else jnp.pad
        times = jnp.asarray(pad(self.times, (0, more), constant_values=np.inf))
        return dataclasses.replace(self, times=times, length=self.length + more)


@functools.lru_cache(maxsize=64)  # it is asked for by every call, and `fn` is traced
def _bytes_of_a_save(fn: Callable, neurons: int, samples: int, dim: int) -> int:
    def one():
        net = Network(jnp.zeros(neurons), jnp.zeros(neurons), jnp.zeros((neurons, dim)))
        return fn(jnp.zeros(()), net, Dataset(jnp.ones((samples, dim)), jnp.zeros(samples)))

    return bytes_of(eqx.filter_eval_shape(one))


def _check_times(times, t0, t1, checks: Checks) -> None:
    if times.ndim != 1:
        raise ValueError(
            f"Argument `saveat.ts` must be one-dimensional, but it has shape {times.shape}."
        )
    if times.shape[0] == 0:
        return
    checks.require(
        "Argument `saveat.ts` must be finite", lambda ts: abs(ts) < np.inf, (times,), "it is {}"
    )
    checks.require(
        "Argument `saveat.ts` must be increasing",
        lambda ts: ts[1:] >= ts[:-1],
        (times,),
        "it is {}",
    )
    checks.require(
        "Argument `saveat.ts` must lie in [t0, t1]",
        lambda ts, t0, t1: (t0 <= ts) & (ts <= t1),
        (times, t0, t1),
        "[t0, t1] is [{1}, {2}], and it is {0}",
    )


def check_buffers(schedule: Schedule, net: Network, data: Dataset) -> None:
    """Raises where the buffers of what is saved, or of dense output, would not fit into memory."""
    shapes = net if schedule.fn is _NETWORK else _shapes_of_values(schedule.fn, net, data)
    size = 16 + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    lever = "max_steps" if schedule.every else "saveat"
    check_memory(lever, schedule.length * size, f"what is saved at {schedule.length} times")
    # Of a stored step, the network where it begins and the preactivations are but a part.
    least = 8 * net.neurons * (net.dim + data.samples)
    what = f"the dense output of {schedule.stored} steps"
    check_memory("max_steps", schedule.stored * least, what)


def _shapes_of_values(fn: Callable, net: Network, data: Dataset) -> PyTree:
    """Of what is saved at one time."""
    what = "Argument `saveat.fn` must be a function of (t, net, data) that returns arrays, but"
    if not callable(fn):
        raise TypeError(f"{what} it is {fn!r}.")
    try:
        inspect.signature(fn).bind(0.0, net, data)
    except TypeError as error:
        raise TypeError(f"{what} for three arguments it raises: {error}.") from error
    except ValueError:  # a function that has no signature
        pass
    shapes = eqx.filter_eval_shape(fn, jnp.zeros(()), net, data)
    for leaf in jax.tree.leaves(shapes):
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            raise TypeError(f"{what} it returns {leaf!r} ({type(leaf).__name__}).")
    return shapes


class Saved(eqx.Module):
    """The buffers, and how far they are filled: `count` places, `reached` times of the schedule."""

    ts: Float[Buffer, " saves"]
    losses: Float[Buffer, " saves"]
    values: PyTree
    count: Int[Array, ""]
    reached: Int[Array, ""]

    @classmethod
    def empty(cls, schedule: Schedule, net: Network, data: Dataset) -> "Saved":
        shapes = _shapes_of_values(schedule.fn, net, data)

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
        self, schedule: Schedule, report, num_accepted, at_times: bool, net: Network, data: Dataset
    ) -> "Saved":
        """Saves the state if a time of the schedule has been reached, or a counted step taken."""
        planned = report.accepted & at_times & (report.time >= self.next_time(schedule))
        counted = report.accepted & False
        if schedule.every:
            counted = report.accepted & (num_accepted % schedule.every == 0)
        if not at_times and not schedule.every:
            return self
        return self.write(schedule, report.time, planned | counted, planned, net, data)

    def in_order(self) -> "Saved":
        """By time; places that nothing was written to are last."""
        order = jnp.argsort(self.ts)
        ts, losses, values = jax.tree.map(lambda buffer: buffer[order], self.buffers())
        return Saved(ts, losses, values, self.count, self.reached)

    def write(self, schedule, time, due, planned, net: Network, data: Dataset) -> "Saved":
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (time, due, planned, net))
        times, due, planned, nets = one
        return self.write_all(schedule, times, due, planned, nets, data)

    def write_all(self, schedule, times, due, planned, nets: Network, data: Dataset) -> "Saved":
        """Saves those of several networks that are due, in their order."""
        if schedule.length == 0:
            return self
        places = self.count + jnp.cumsum(due.astype(self.count.dtype)) - 1
        places = jnp.where(due, places, schedule.length)
        new = (
            times,
            jax.vmap(lambda net: mean_loss(net, data, schedule.loss))(nets),
            jax.vmap(lambda time, net: schedule.fn(time, net, data))(times, nets),
        )
        ts, losses, values = jax.tree.map(
            lambda buffer, value: buffer.at[places].set(value, mode="drop"),
            self.buffers(),
            new,
            is_leaf=eqx.internal._loop.common._is_buffer,
        )
        count = self.count + jnp.sum(due, dtype=self.count.dtype)
        count = jnp.minimum(count, schedule.length)
        reached = self.reached + jnp.sum(planned, dtype=self.reached.dtype)
        return Saved(ts, losses, values, count, reached)

"""Dense output: the accepted steps as they are stored, and the network between their ends.

No polynomial is put through the ends of a step: those that solvers bring are of a lower order
than the step. The integrator takes the stored step again instead, up to the time asked for.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._dynamics._field import Problem
from .._model._network import Network
from .._model._shapes import Buffer, Scalar
from .._support._checks import is_concrete
from .._support._compiling import compiled, is_outermost
from .._support._forward_mode import forward_mode_only, in_reverse_mode
from .._support._padding import bytes_of, padded_length, without_padding
from ._integrator import AbstractDenseIntegrator, AbstractIntegrator, Report

_NO_REVERSE = (
    "Solution.evaluate cannot be differentiated in reverse mode (jax.grad, jax.vjp, jax.jacrev, "
    "jax.linearize) with integrator=rf.Boost(): its iterations have no bound that memory could be "
    "reserved for. Use forward mode, jax.jvp or jax.jacfwd."
)


class StoredSteps(eqx.Module):
    """The accepted steps so far, in buffers of fixed length; of length 0 where none are stored.

    There is room for `max_steps`, the most that can be attempted.
    """

    begins: Float[Buffer, " steps"]  # padded with inf
    passages: PyTree  # what the integrator needs to take each again
    count: Int[Array, ""]

    @classmethod
    def empty(cls, integrator: AbstractIntegrator, state: Any, length: int) -> "StoredSteps":
        shapes = eqx.filter_eval_shape(integrator.passage, state, state) if length else None
        passages = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)
        return cls(jnp.full((length,), jnp.inf), passages, jnp.array(0))

    def buffers(self):
        return self.begins, self.passages

    def add(self, integrator: AbstractIntegrator, before, after, report: Report) -> "StoredSteps":
        """With the step from one state to the other, where it was accepted."""
        length = self.begins.shape[-1]
        if length == 0:
            return self
        place = jnp.where(report.accepted, self.count, length)
        begins, passages = jax.tree.map(
            lambda buffer, value: buffer.at[place].set(value, mode="drop"),
            self.buffers(),
            (before.time, integrator.passage(before, after)),
            is_leaf=eqx.internal._loop.common._is_buffer,
        )
        count = self.count + report.accepted.astype(self.count.dtype)
        return StoredSteps(begins, passages, count)

    def interpolation(self, integrator: AbstractIntegrator, problem: Problem):
        return Interpolation(self, problem, integrator) if self.begins.shape[-1] else None


class Interpolation(eqx.Module):
    """The network at any time of the stored steps."""

    steps: StoredSteps
    problem: Problem
    _arrays: PyTree
    _static: Any = eqx.field(static=True)  # under jax.jit, a result may consist of arrays only

    def __init__(self, steps: StoredSteps, problem: Problem, integrator: AbstractIntegrator):
        self.steps, self.problem = steps, problem
        self._arrays, self._static = eqx.partition(integrator, eqx.is_array)

    def evaluate(self, t: Array, like: Network) -> Network:
        """At one time, or at several, shape (time,); `like` any network of the same shape."""
        if isinstance(self._static, AbstractDenseIntegrator):  # which iterates, without a bound
            forward = forward_mode_only(self, _NO_REVERSE)
            return forward._evaluate(forward_mode_only(t, _NO_REVERSE), like)
        return self._evaluate(t, like)

    def _evaluate(self, t: Array, like: Network) -> Network:
        if not is_outermost() or in_reverse_mode((self, t)):  # of a loop without a bound
            return self._network(t) if t.ndim == 0 else jax.lax.map(self._network, t)
        times = t[None] if t.ndim == 0 else t
        count = times.shape[0]
        # Room for fewer is no other program, and what is not asked for costs no time.
        more = padded_length(count, lambda: bytes_of(like), least=8) - count
        pad = np.pad if is_concrete(t) else jnp.pad
        times = jnp.asarray(pad(times, (0, more)))
        nets = without_padding(self._at_first(times, jnp.array(count), like), count)
        return nets if t.ndim else jax.tree.map(lambda leaf: leaf[0], nets)

    @compiled
    def _at_first(
        self, times: Float[Array, " times"], count: Int[Array, ""], like: Network
    ) -> Network:
        """At the first `count`; the networks at the others are 0."""

        def fill(index, nets):
            one = self._network(times[index])
            return jax.tree.map(lambda room, leaf: room.at[index].set(leaf), nets, one)

        def room(leaf):
            return jnp.zeros((times.shape[0], *leaf.shape), leaf.dtype)

        return jax.lax.fori_loop(0, count, fill, jax.tree.map(room, like))

    def _network(self, time: Scalar) -> Network:
        integrator = eqx.combine(self._arrays, self._static)
        # Of steps of length zero, at an event of the very beginning, the last.
        index = jnp.searchsorted(self.steps.begins, time, side="right") - 1
        index = jnp.maximum(index, 0)
        passage = jax.tree.map(lambda leaf: leaf[index], self.steps.passages)
        net = integrator.network_within(self.problem, passage, time)
        return net.with_activation(self.problem.activation)

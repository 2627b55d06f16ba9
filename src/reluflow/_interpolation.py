"""Dense output: the accepted steps as they are stored, and the network between their ends.

No polynomial is put through the ends of a step: those that solvers bring are of a lower order
than the step. The integrator takes the stored step again instead, up to the time asked for.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._compiling import compiled
from ._field import Problem
from ._integrator import AbstractIntegrator, Report
from ._network import Network
from ._shapes import Buffer


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

    @compiled
    def evaluate(self, t: Array) -> Network:
        """At one time, or at several, shape (time,)."""
        integrator = eqx.combine(self._arrays, self._static)

        def at(time):
            # Of steps of length zero, at an event of the very beginning, the last.
            index = jnp.searchsorted(self.steps.begins, time, side="right") - 1
            index = jnp.maximum(index, 0)
            passage = jax.tree.map(lambda leaf: leaf[index], self.steps.passages)
            return integrator.network_within(self.problem, passage, time)

        return at(t) if t.ndim == 0 else jax.lax.map(at, t)

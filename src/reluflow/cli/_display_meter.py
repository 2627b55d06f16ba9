"""What a compiled flow tells while it runs."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Int

from .._meter import AbstractFlowMeter
from ._progress import Display, Reached


class _State(NamedTuple):
    called: Int[Array, ""]  # the number of steps and saves when the host was last called
    skip: Int[Array, ""]  # how many more there must be until it is called again


class DisplayMeter(AbstractFlowMeter):
    """Tells a `Display` how far a compiled flow is, a few times a second.

    A call to the host can cost as much as a step of a small network, and a step of a large one
    takes a second: the host, which has a clock, says after how many steps to call it again.
    """

    display: Display = eqx.field(static=True)

    def init(self) -> _State:
        return _State(jnp.array(0), jnp.array(1))

    def show(self, state: _State, time, num_steps, num_saved, loss) -> _State:
        def call():
            skip = jax.ShapeDtypeStruct((), state.skip.dtype)
            return io_callback(self._call, skip, state.skip, time, loss(), num_steps, num_saved)

        done = num_steps + num_saved
        due = done - state.called >= state.skip
        skip = jax.lax.cond(due, call, lambda: state.skip)
        return _State(jnp.where(due, done, state.called), skip)

    def step(self, state: _State, progress) -> _State:
        raise NotImplementedError("rf.flow calls `show`.")

    def close(self, state: _State) -> None:
        del state

    def _call(self, skip, reached, loss, num_steps, num_saved):
        self.display.reached(Reached(float(reached), float(loss), int(num_steps), int(num_saved)))
        return np.asarray(self.display.skip_after(int(skip)), np.asarray(skip).dtype)

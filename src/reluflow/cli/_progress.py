"""A progress bar for a compiled loop, drawn by rich."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax.experimental import io_callback
from rich.progress import Progress, TaskID

_MINIMUM_INCREASE = 0.005  # a call to the host costs more than a step of a small network


class _Shown(NamedTuple):
    progress: jax.Array


class RichProgressMeter(diffrax.AbstractProgressMeter):
    """Moves one task of a running `rich.progress.Progress` from 0 to 1."""

    bar: Progress = eqx.field(static=True)
    task: TaskID = eqx.field(static=True)

    def init(self) -> _Shown:
        return _Shown(jnp.array(0.0))

    def step(self, state: _Shown, progress) -> _Shown:
        due = (progress - state.progress > _MINIMUM_INCREASE) | (progress >= 1.0)
        due = eqxi.nonbatchable(eqxi.unvmap_all(due & (progress > state.progress)))

        def show():
            io_callback(self._show, None, progress)
            return jnp.asarray(progress, state.progress.dtype)

        return _Shown(jax.lax.cond(due, show, lambda: state.progress))

    def close(self, state: _Shown) -> None:
        del state

    def _show(self, progress) -> None:
        self.bar.update(self.task, completed=float(progress.min()))

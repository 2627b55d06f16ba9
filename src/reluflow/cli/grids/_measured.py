"""One point of a grid, of which everything is computed that is asked for, and nothing else."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import diffrax
import jax.numpy as jnp

from ... import theory
from ..._flow import flow
from ..._integration._solution import Solution
from ..._model._dataset import Dataset
from ..._model._network import Network
from ...theory import LimitProcess

# Of a flow of which every step is kept; one that takes more has the code `max_steps_reached`.
MOST_STEPS_KEPT = 4096


@dataclass(frozen=True)
class Settings:
    """How the flow of a point is integrated. path: whether what it passes through is asked for."""

    t1: Any
    rtol: Any
    stop_loss: Any
    max_steps: int | None
    integrator: Any
    path: bool


class Measured:
    """neurons: how many are active. times: how many times of a point are kept."""

    def __init__(self, net: Network, data: Dataset, neurons: Any, times: int, settings: Settings):
        self.net, self.data, self.neurons = net, data, neurons
        self.times, self._settings = times, settings

    @functools.cached_property
    def minimum(self) -> Any:
        return theory.minimal_squared_norm(self.data)

    @functools.cached_property
    def process(self) -> LimitProcess:
        return theory.limit_process(self.net, self.data)

    @functools.cached_property
    def sol(self) -> Solution:
        how = self._settings
        saveat, most = diffrax.SaveAt(t1=True), how.max_steps
        if how.path:
            saveat = diffrax.SaveAt(t0=True, steps=True, fn=_nothing)
            most = MOST_STEPS_KEPT if most is None else most
        return flow(
            self.net,
            self.data,
            math.inf if how.t1 is None else how.t1,
            integrator=how.integrator,
            rtol=how.rtol,
            saveat=saveat,
            stop_loss=how.stop_loss,
            max_steps=most,
            throw=False,
        )


def _nothing(t, net, data) -> Any:
    """Of the saved steps the times and losses are kept alone."""
    return jnp.zeros(())

"""Computes what a run was asked for; writes nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import diffrax
import jax
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .._dataset import Dataset
from .._descent import descent
from .._flow import flow
from .._network import Network
from .._runge_kutta import RungeKutta
from .._solution import Solution
from ._progress import RichProgressMeter
from ._settings import SOLVERS, Settings

_SAVES = 2000  # intervals between saved states: enough to see a drop of the loss as a curve
_MEMORY = 128 * 2**20  # bytes of saved states, where the network is so large that fewer must do


@dataclass(frozen=True)
class Timed:
    """A solution, and what it cost in seconds of wall time."""

    solution: Solution
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class Outcome:
    """The flow and, where asked for, the descent beside it, saved at the same times."""

    settings: Settings
    data: Dataset
    flow: Timed
    descent: Timed | None


def compute(settings: Settings, net: Network, data: Dataset, console: Console) -> Outcome:
    """Raises ValueError for arguments that the library refuses, before anything is compiled."""
    intervals = _intervals(net)
    beside = None
    if settings.descent_step is not None:
        # First, because its saved times, k steps each, are then the times of the flow too.
        steps = settings.descent_steps()
        optimiser = optax.sgd(settings.descent_step)
        every = max(1, -(-steps // intervals))
        with console.status(f"gradient descent, {steps} steps"):
            beside = _timed(
                lambda net: descent(net, data, optimiser, steps, save_every=every, throw=False),
                net,
            )
        ts = np.append(np.arange(0, steps, every), steps) * settings.descent_step
        ts[-1] = settings.t1
    else:
        ts = np.linspace(0.0, settings.t1, intervals + 1)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        meter = RichProgressMeter(bar, bar.add_task(f"flow to t = {settings.t1:g}", total=1.0))
        integrator = RungeKutta(solver=SOLVERS[settings.integrator]())
        timed = _timed(
            # The data is a constant of the program, so that it can be seen to be orthogonal.
            lambda net: flow(
                net, data, settings.t1, integrator=integrator, rtol=settings.rtol,
                saveat=diffrax.SaveAt(ts=ts), progress_meter=meter, throw=False,
            ),
            net,
        )  # fmt: skip
    return Outcome(settings, data, timed, beside)


def _intervals(net: Network) -> int:
    floats = net.neurons * (net.dim + 2)
    return int(np.clip(_MEMORY // (8 * floats), 100, _SAVES))


def _timed(function: Callable[[Network], Solution], net: Network) -> Timed:
    """Compiles first, so that the time of the run is that of the run."""
    begin = time.perf_counter()
    compiled = jax.jit(function).lower(net).compile()
    middle = time.perf_counter()
    solution = jax.block_until_ready(compiled(net))
    return Timed(solution, middle - begin, time.perf_counter() - middle)

"""Computes what a run was asked for; writes nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .._compiling import compiler_options
from .._dataset import Dataset
from .._descent import check_size, descent
from .._flow import flow
from .._network import Network
from .._solution import Solution
from ._progress import RichProgressMeter
from ._settings import INTEGRATORS, Settings

_SAVES = 500  # intervals between saved states: enough to see a drop of the loss as a curve
_MEMORY = 128 * 2**20  # bytes of saved states, where the network is so large that fewer must do


@dataclass(frozen=True)
class Timed:
    """A solution, and what it cost in seconds of wall time."""

    solution: Solution
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class Outcome:
    """The flow and, where asked for, the descent beside it, saved at the same times.

    `bare` is the flow once more with its end alone saved, and `bare_descent` the descent: what
    each costs where a step ends at each of 500 saved times is no fair comparison.
    """

    settings: Settings
    data: Dataset
    flow: Timed
    descent: Timed | None = None
    bare: Timed | None = None
    bare_descent: Timed | None = None


def compute(settings: Settings, net: Network, data: Dataset, console: Console) -> Outcome:
    """Raises ValueError for arguments that the library refuses, before anything is compiled."""
    step = settings.descent_step
    if step is not None:
        check_size(net)  # now, rather than once the flow has run
    ts = _times(settings, net)
    timed = _flow(settings, net, data, diffrax.SaveAt(ts=jnp.asarray(ts)), console, "flow")
    if step is None:
        return Outcome(settings, data, timed)
    bare = _flow(settings, net, data, diffrax.SaveAt(t1=True), console, "the same, end only")
    with console.status(f"gradient descent, {settings.descent_steps(step)} steps"):
        every = _steps_between(settings, step, net)
        beside, bare_beside = (_descend(settings, step, net, data, k) for k in (every, None))
    return Outcome(settings, data, timed, beside, bare, bare_beside)


def _times(settings: Settings, net: Network) -> np.ndarray:
    """Where to save: with a descent beside the flow, at multiples of its step."""
    step = settings.descent_step
    if step is None:
        return np.linspace(0.0, settings.t1, _intervals(net) + 1)
    steps, every = settings.descent_steps(step), _steps_between(settings, step, net)
    ts = np.append(np.arange(0, steps, every), steps) * step
    ts[-1] = settings.t1  # equal, but for rounding
    return ts


def _steps_between(settings: Settings, step: float, net: Network) -> int:
    return max(1, -(-settings.descent_steps(step) // _intervals(net)))


def _descend(
    settings: Settings, step: float, net: Network, data: Dataset, every: int | None
) -> Timed:
    steps, optimiser = settings.descent_steps(step), optax.sgd(step)
    return _timed(
        lambda net: descent(net, data, optimiser, steps, save_every=every, throw=False), net
    )


def _flow(settings, net, data, saveat, console: Console, title: str) -> Timed:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    integrator = INTEGRATORS[settings.integrator]()
    with Progress(*columns, console=console) as bar:
        meter = RichProgressMeter(bar, bar.add_task(title, total=1.0))

        def run(net: Network) -> Solution:
            return flow(
                net,
                data,
                settings.t1,
                integrator=integrator,
                rtol=settings.rtol,
                saveat=saveat,
                progress_meter=meter,
                throw=False,
            )

        return _timed(run, net)


def _intervals(net: Network) -> int:
    floats = net.neurons * (net.dim + 2)
    return int(np.clip(_MEMORY // (8 * floats), 100, _SAVES))


def _timed(run: Callable[[Network], Solution], net: Network) -> Timed:
    """Compiles first, so that the time of the run is that of the run."""
    begin = time.perf_counter()
    compiled = jax.jit(run, compiler_options=compiler_options()).lower(net).compile()
    middle = time.perf_counter()
    solution = jax.block_until_ready(compiled(net))
    return Timed(solution, middle - begin, time.perf_counter() - middle)

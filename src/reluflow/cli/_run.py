"""Computes what a run was asked for; writes nothing."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._boost import Boost
from .._descent import check_size, descent
from .._flow import flow
from .._integration._results import RESULTS, ended_well
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from .._support._compiling import compiler_options
from ._display_meter import DisplayMeter
from ._forecast import Forecast, forecast
from ._integrators import INTEGRATORS
from ._progress import Display
from ._settings import Settings, check_descent

_QUICK, _USUAL_SCALE = 2000.0, 20.0
LATE = 4.0  # times the end that was predicted: from there on times are saved that grow
_SAVES = 500  # intervals between saved states: enough to see a drop of the loss as a curve
_MEMORY = 128 * 2**20  # bytes of saved states, where the network is so large that fewer must do


@dataclass(frozen=True)
class Timed:
    """A solution, and what it cost in seconds of wall time."""

    solution: Solution
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class Beside:
    """A descent, saved at the times at which the flow is.

    `bare` is the descent once more with its end alone saved, and `bare_flow` the flow: what each
    costs where a step ends at each of 500 saved times is no fair comparison.
    """

    descent: Timed
    bare: Timed
    bare_flow: Timed


@dataclass(frozen=True)
class Outcome:
    """The flow and, where asked for, the descent beside it."""

    settings: Settings
    data: Dataset
    forecast: Forecast
    flow: Timed
    beside: Beside | None


def compute(settings: Settings, display: Display) -> Outcome:
    """Raises typer.BadParameter or, for arguments that the library refuses, ValueError, before
    anything is compiled."""
    display.begin("preparing the problem")
    net, data = settings.problem()
    ahead = forecast(settings.experiment, net, data, settings.made_loss())
    display.note(announcement(settings, data, ahead))
    settings = settings.complete(ahead.t1)
    check_descent(settings)
    if settings.descent_step is not None:
        check_size(net)  # now, rather than once the flow has run
    end, rested = diffrax.SaveAt(t1=True), None
    if math.isinf(settings.end):
        rested = _flow(settings, net, data, end, display, "the flow until rest")
        if not bool(ended_well(rested.solution.result)):
            return Outcome(settings, data, ahead, rested, None)
        settings = settings.ending(float(rested.solution.stats["t_final"]))
    saveat = diffrax.SaveAt(ts=jnp.asarray(_times(settings, net, ahead)))
    timed = _flow(settings, net, data, saveat, display, "the flow")
    if rested is not None and bool(timed.solution.result == RESULTS.successful):
        timed = dataclasses.replace(timed, solution=_at_rest(timed.solution))
    beside = None
    if settings.descent_step is not None:
        bare = _flow(settings, net, data, end, display, "the flow, end only")
        every = _steps_between(settings, net)
        name = f"the descent, {settings.descent_steps()} steps"
        beside = Beside(
            _descend(settings, net, data, every, display, name),
            _descend(settings, net, data, None, display, f"{name}, end only"),
            bare,
        )
    return Outcome(settings, data, ahead, timed, beside)


def _at_rest(sol: Solution) -> Solution:
    """The run to t1 again, where it is known that it ends at rest."""
    return eqx.tree_at(lambda s: s.result, sol, RESULTS.rest_reached)


def announcement(settings: Settings, data: Dataset, ahead: Forecast) -> str:
    t1 = ahead.t1 if settings.t1 is None else settings.t1
    ends = "ends at rest" if math.isinf(t1) else f"ends at t1 = {t1:g}"
    if not math.isfinite(ahead.first_growth):
        return f"No neuron grows from this start: the loss stands still, and the run {ends}."
    if ahead.first_growth == 0.0:
        return f"The start is large: no neuron has to grow first. The run {ends}."
    growth = f"the first neuron is large at about t = {ahead.first_growth:.4g}"
    if t1 > ahead.first_growth:
        text = f"Predicted: {growth}, ln(1/lambda) / |D|; the run {ends}."
        return text + _guess(settings, data)
    return (
        f"Warning: {growth}, ln(1/lambda) / |D|, which is after --t1 {t1:g}: until then the loss "
        f"stands still. Leave --t1 out, and the run ends at {ahead.t1:g}."
    )


def _guess(settings: Settings, data: Dataset) -> str:
    """Why the end is one, if it is."""
    if settings.t1 is not None or not settings.experiment.guessed:
        return ""
    if not settings.as_in_papers:
        why = " What the papers predict of later drops is for ReLU and the square loss alone"
    elif not data.is_orthogonal():
        why = " Where the inputs are not orthogonal nothing predicts the later drops"
    else:
        return ""
    advice = ", and --until-rest needs none." if settings.loss == "square" else "."
    return f"{why}: this end is a guess{advice}"


def _times(settings: Settings, net: Network, ahead: Forecast) -> np.ndarray:
    """Where to save: with a descent beside the flow, at multiples of its step. Long after the last
    predicted drop, at times that grow."""
    if settings.descent_step is None:
        number, shown, end = _intervals(net) + 1, ahead.t1, settings.end
        if not end > LATE * shown:
            return np.linspace(0.0, end, number)
        early = np.linspace(0.0, shown, number // 2, endpoint=False)
        late = np.geomspace(shown, end, number - number // 2)
        return np.append(np.append(early, late[:-1]), end)
    steps, every = settings.descent_steps(), _steps_between(settings, net)
    ts = np.append(np.arange(0, steps, every), steps) * settings.descent_step
    ts[-1] = settings.end  # equal, but for rounding
    return ts


def _steps_between(settings: Settings, net: Network) -> int:
    return max(1, -(-settings.descent_steps() // _intervals(net)))


def _descend(settings, net, data, every: int | None, display: Display, name: str) -> Timed:
    steps, optimiser = settings.descent_steps(), optax.sgd(settings.descent_step)
    loss = settings.made_loss()
    return _timed(
        lambda net: descent(net, data, optimiser, steps, loss=loss, save_every=every, throw=False),
        net,
        display,
        name,
    )


def _flow(settings, net, data, saveat, display: Display, name: str) -> Timed:
    assert settings.integrator is not None
    integrator = INTEGRATORS[settings.integrator]()
    meter = _meter(integrator, net, data, display)

    def run(net: Network) -> Solution:
        return flow(
            net,
            data,
            settings.end,
            loss=settings.made_loss(),
            integrator=integrator,
            rtol=settings.rtol,
            saveat=saveat,
            progress_meter=meter,
            throw=False,
        )

    return _timed(run, net, display, name, settings.end)


def _meter(integrator, net: Network, data: Dataset, display: Display):
    """None for a run of a second or two. JAX keeps no compiled program that calls the host."""
    # The steps of a Runge-Kutta solver grow with the length of the plateaus, ln(1/lambda).
    longer = 1.0 if isinstance(integrator, Boost) else float(-jnp.min(net.log_scale)) / _USUAL_SCALE
    quick = net.neurons * data.samples * max(longer, 1.0) <= _QUICK
    return diffrax.NoProgressMeter() if quick else DisplayMeter(display)


def _intervals(net: Network) -> int:
    floats = net.neurons * (net.dim + 2)
    return int(np.clip(_MEMORY // (8 * floats), 100, _SAVES))


def _timed(
    run: Callable[[Network], Solution],
    net: Network,
    display: Display,
    name: str,
    end: float | None = None,
) -> Timed:
    """Compiles first, so that the time of the run is that of the run."""
    display.begin(f"compiling {name}")
    begin = time.perf_counter()
    compiled = jax.jit(run, compiler_options=compiler_options()).lower(net).compile()
    display.begin(f"computing {name}", end)
    middle = time.perf_counter()
    solution = jax.block_until_ready(compiled(net))
    return Timed(solution, middle - begin, time.perf_counter() - middle)

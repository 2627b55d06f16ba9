"""START HERE: `rf.flow`, its arguments and what it refuses; its loop is in `_loop.py`.

theta' = -grad L(theta),    L = 1/(2n) sum_k (h(x_k) - y_k)^2
"""

import dataclasses

import diffrax
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np

from ._boost import Boost
from ._checks import as_float64, check_positive_int, is_concrete, require_x64
from ._compiling import compiled
from ._dataset import Dataset
from ._field import Problem
from ._integrator import AbstractIntegrator
from ._loop import Run
from ._network import Network, check_single
from ._padding import without_padding
from ._runge_kutta import RungeKutta
from ._saving import Schedule
from ._solution import RESULTS, Solution

_MAX_STEPS = 10_000_000
_MAX_STORED_STEPS = 4096

_NO_REVERSE = (
    "rf.flow cannot be differentiated in reverse mode (jax.grad, jax.vjp, jax.jacrev): its loop "
    "has no bound that memory could be reserved for. Use forward mode, jax.jvp or jax.jacfwd, with "
    "integrator=rf.Boost(), the default."
)


_NO_FORWARD = (
    "rf.flow cannot be differentiated with integrator=rf.RungeKutta(): its root finding and step "
    "size control have no derivative. Use jax.jvp or jax.jacfwd with integrator=rf.Boost(), the "
    "default."
)

_NO_STOP = (
    "rf.flow cannot be differentiated with `stop_loss`: the time at which the loss is reached "
    "moves, and that motion is not implemented. Differentiate to a fixed t1."
)


def flow(
    net: Network,
    data: Dataset,
    t1,
    *,
    t0=0.0,
    integrator: Boost | AbstractIntegrator | None = None,
    rtol=1e-8,
    atol=0.0,
    saveat: diffrax.SaveAt | None = None,
    stop_loss=None,
    max_steps: int | None = None,
    max_events: int | None = None,
    progress_meter: diffrax.AbstractProgressMeter | None = None,
    throw: bool = True,
) -> Solution:
    """The gradient flow theta' = -grad L(theta) from `net`, with all its events.

        a_j' = <D_j, w_j>,   w_j' = a_j D_j,   D_j = 1/n sum_k alpha_jk (y_k - h(x_k)) x_k

    (2022, eq. 3), alpha_jk = 1 where <w_j, x_k> > 0 and 0 where < 0. On a boundary the flow
    crosses, slides along it with alpha_jk in (0, 1) (Filippov), or, where the velocity off it
    vanishes, rests there with alpha_jk = 0 (sigma'(0) = 0; 2022, Prop. 2).

    Arguments:
        net: the initialisation.
        data: inputs (samples, dim) and labels (samples,).
        t1, t0: the end and the beginning, in the paper's time (one gradient descent iteration
            of step eta on L is eta of it).
        integrator: `rf.Boost()` by default; `rf.RungeKutta()` is the other. They check each other.
        rtol: the tolerance of a step, relative to each neuron's own norm: a neuron of size 1e-20
            is as exact as one of size 1.
        atol: an absolute tolerance on the weights, added to it. Zero by default, and anything
            above the size of the initialisation would miss its alignment.
        saveat: `diffrax.SaveAt` with `t0`, `t1`, `ts`, `steps`, `dense`, and `fn(t, net, data)`.
            Saved states are as exact as the final one: `rf.Boost` sends the neurons through the
            step again, and the steps of `rf.RungeKutta` end at the times asked for. With `dense`
            every accepted step is stored, for `Solution.evaluate`.
        stop_loss: end where the loss falls to this, located like an event; at t0 where it is there
            already.
        max_steps: of attempted steps; 10 million by default. With `saveat.steps` or
            `saveat.dense` it is also the length of the buffers, which are reserved as a whole, and
            defaults to 4096. A run that needs more ends with the result `max_steps_reached`.
        max_events: the length of the event buffers; 4 (neurons)(samples) + 256 by default.
        progress_meter: of diffrax.
        throw: raise on failure; otherwise look at `sol.result`. Use False under `jax.vmap` to
            let each lane report its own.

    Returns:
        `rf.Solution`. Works under `jax.jit` and `jax.vmap`, in float64; with `rf.Boost` also
        under `jax.jvp` and `jax.jacfwd`, through all events (but not with `stop_loss`).

    Raises:
        ValueError, TypeError: bad arguments, before anything is compiled.
        RuntimeError: float64 is disabled, or the integration failed and `throw` is true.
    """
    require_x64()
    _check_problem(net, data)
    saveat = diffrax.SaveAt(t1=True) if saveat is None else saveat
    interval, tolerances, stop = _settings(t0, t1, rtol, atol, stop_loss)
    max_steps, max_events = _lengths(net, data, saveat, max_steps, max_events)
    integrator = _of_interface(Boost() if integrator is None else integrator)
    schedule = Schedule.of(saveat, *interval, max_steps)
    meter = diffrax.NoProgressMeter() if progress_meter is None else progress_meter
    asked = (net, data, schedule.padded(net, data), interval, tolerances, stop)
    prepared = integrator.prepare(data)
    limits = (jnp.asarray(max_steps), max_events, meter)
    sol = _refusing_derivatives(prepared, asked, stop_loss is not None, *limits)
    sol = _cropped(sol, schedule.length)
    return _raised(sol) if throw else sol


def _cropped(sol: Solution, length: int) -> Solution:
    """With as many places for saves as were asked for."""
    if sol.ts.shape[0] == length:
        return sol
    ts, losses, networks = without_padding((sol.ts, sol.losses, sol.networks), length)
    return dataclasses.replace(sol, ts=ts, losses=losses, networks=networks)


def _refusing_derivatives(integrator, asked, stops: bool, *limits) -> Solution:
    """`_integrate`, with an error for each derivative that there is not."""
    if isinstance(integrator, RungeKutta):
        asked = eqxi.nondifferentiable(asked, msg=_NO_FORWARD)
    elif stops:
        asked = eqxi.nondifferentiable(asked, msg=_NO_STOP)
    sol = _integrate(integrator, *asked, *limits)
    return eqxi.nondifferentiable_backward(sol, msg=_NO_REVERSE)


def _raised(sol: Solution) -> Solution:
    good = (sol.result == RESULTS.successful) | (sol.result == RESULTS.loss_reached)
    return sol.result.error_if(sol, ~good)


@compiled
def _integrate(
    integrator, net, data, schedule, interval, tolerances, stop_loss, max_steps, max_events, meter
) -> Solution:
    return Run(
        integrator,
        Problem.of(data),
        net,
        data,
        schedule,
        interval,
        tolerances,
        stop_loss,
        max_steps,
        max_events,
        meter,
    ).solve()


def _lengths(net, data, saveat, max_steps, max_events) -> tuple[int, int]:
    """Of the buffers: those asked for, or the defaults."""
    if not isinstance(saveat, diffrax.SaveAt):
        raise TypeError(f"Argument `saveat` must be a diffrax.SaveAt, but it is {saveat!r}.")
    if max_steps is None:
        stores = getattr(saveat.subs, "steps", 0) or saveat.dense
        max_steps = _MAX_STORED_STEPS if stores else _MAX_STEPS
    max_events = 4 * net.neurons * data.samples + 256 if max_events is None else max_events
    check_positive_int("max_steps", max_steps)
    check_positive_int("max_events", max_events)
    return max_steps, max_events


def _of_interface(integrator) -> AbstractIntegrator:
    integrator = integrator.integrator() if isinstance(integrator, Boost) else integrator
    if not isinstance(integrator, AbstractIntegrator):
        raise TypeError(
            "Argument `integrator` must be an integrator such as rf.Boost() or rf.RungeKutta(), "
            f"but it is {integrator!r}."
        )
    return integrator


def _scalar(name: str, value) -> jax.Array:
    array = as_float64(name, value)
    if array.ndim != 0:
        raise ValueError(f"Argument `{name}` must be a scalar, but it has shape {array.shape}.")
    if is_concrete(array) and not np.isfinite(np.asarray(array)):
        raise ValueError(f"Argument `{name}` must be finite, but it is {float(array)}.")
    return array


def _check_problem(net, data) -> None:
    if not isinstance(net, Network):
        raise TypeError(f"Argument `net` must be an rf.Network, but it is a {type(net).__name__}.")
    if not isinstance(data, Dataset):
        raise TypeError(
            f"Argument `data` must be an rf.Dataset, but it is a {type(data).__name__}."
        )
    check_single(net)
    if net.dim != data.dim:
        raise ValueError(
            f"Arguments `net` and `data` must have the same input dimension, but they have "
            f"{net.dim} and {data.dim}."
        )
    pair = data.parallel_inputs()
    if pair is not None:
        raise ValueError(
            "Argument `data` must have no two parallel inputs, because their boundaries coincide "
            f"and the two samples would switch as one, but x[{pair[0]}] and x[{pair[1]}] are "
            "parallel. Perturb one of them, or replace the two by one sample."
        )


def _settings(t0, t1, rtol, atol, stop_loss):
    """((t0, t1), (rtol, atol), stop_loss), checked."""
    t0, t1 = _scalar("t0", t0), _scalar("t1", t1)
    rtol, atol = _scalar("rtol", rtol), _scalar("atol", atol)
    if is_concrete(t0) and is_concrete(t1) and not float(t0) < float(t1):
        raise ValueError(f"Argument `t1` must be greater than `t0` = {t0}, but it is {t1}.")
    if is_concrete(rtol) and not 1e-13 <= float(rtol) <= 0.1:
        raise ValueError(
            "Argument `rtol` must lie in [1e-13, 0.1], but it is "
            f"{rtol}: float64 cannot meet less, and more is no solution."
        )
    if is_concrete(atol) and float(atol) < 0.0:
        raise ValueError(f"Argument `atol` must not be negative, but it is {atol}.")
    # No loss is below -1: without a loss to stop at, that guard never fires.
    stop = _scalar("stop_loss", -1.0 if stop_loss is None else stop_loss)
    return (t0, t1), (rtol, atol), stop

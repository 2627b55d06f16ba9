"""START HERE: `rf.flow`, its arguments and what it refuses; its loop is in `_loop.py`.

theta' = -grad L(theta),    L = 1/n sum_k omega_k l(h(x_k), y_k)
"""

from collections.abc import Callable

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp

from ._boost import Boost
from ._dynamics._field import Problem
from ._events._event_buffers import BYTES_OF_EVENT
from ._flow_arguments import check_loss, lengths, of_interface, settings, started
from ._integration._flow_state import FlowState
from ._integration._integrator import AbstractIntegrator
from ._integration._loop import Run
from ._integration._results import RESULTS, ended_well
from ._integration._saving import Schedule, check_buffers
from ._integration._solution import Solution, cropped
from ._model._dataset import Dataset
from ._model._losses import AbstractLoss
from ._model._network import Network
from ._model._rays import Geometry
from ._runge_kutta._runge_kutta import RungeKutta
from ._support._checks import Checks, check_bool, check_type, require_x64
from ._support._compiling import compiled
from ._support._forward_mode import forward_mode_only
from ._support._padding import padded_length

_NO_REVERSE = (
    "rf.flow cannot be differentiated in reverse mode (jax.grad, jax.vjp, jax.jacrev, "
    "jax.linearize): its loop has no bound that memory could be reserved for. Use forward mode, "
    "jax.jvp or jax.jacfwd, with integrator=rf.Boost(), the default."
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
    net: Network | Solution,
    data: Dataset | None = None,
    t1=None,
    *,
    t0=None,
    loss: AbstractLoss | Callable | None = None,
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

        a_j' = <D_j, w_j>,   w_j' = a_j D_j,   D_j = 1/n sum_k s_jk r_k x_k,

    with r_k = y_k - h(x_k) for the square loss, L = 1/(2n) sum_k r_k^2 (2022, eq. 3), and
    r_k = -omega_k dl/dh for others; and s_jk the slope of the activation at <w_j, x_k>, which of
    ReLU is 1 where that is positive and 0 where negative. On a boundary the flow crosses, slides
    along it with a slope in between (Filippov), or, where the velocity off it vanishes, rests there
    (relu'(0) = 0; 2022, Prop. 2). Inputs on one line through 0 share a boundary: of ReLU, the
    slopes at x and at -x are alpha and 1 - alpha.

    Arguments:
        net: the initialisation. Or a solution, whose flow goes on: its clock, its modes, its step
            size and its data go with it, so that the parts are the whole. From bare weights, a
            unit within rounding of its boundary stands on it.
        data: inputs (samples, dim) and labels (samples,); not with a solution.
        t1: the end, in the paper's time (one gradient descent iteration of step eta on L is eta
            of it). With `t1=jnp.inf` the run ends at rest, with the result `rest_reached`: where
            what is left of the flow moves no prediction by more than rtol max|y|, and no neuron,
            however small, is to grow again. A pull below rtol of the largest counts as none.
        t0: the beginning, 0 by default; not with a solution.
        loss: `rf.square` by default; `rf.logistic` and `rf.exponential`, for labels 1 and -1; or a
            function l(h, y), elementwise, convex and smooth in h, such as `rf.Loss` wraps. Not with
            a solution. Under a loss that is not quadratic t1 must be finite: no rest is known.
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
        `rf.Solution`, whose `result` is `successful`, `loss_reached`, or what went wrong:
        `max_steps_reached`, `event_buffer_full`, `sliding_buffer_full`, `step_collapsed`,
        `chattering`, `invalid_argument` or `not_finite`; `help(rf.RESULTS)` says what each means,
        and what to try. Works under `jax.jit` and `jax.vmap`, in float64;
        with `rf.Boost` also under `jax.jvp` and `jax.jacfwd`, through all events (but not with
        `stop_loss`).

    Raises:
        ValueError, TypeError: bad arguments, before anything is compiled.
        RuntimeError: float64 is disabled; the integration failed, or an argument that was traced
            is bad, and `throw` is true; a derivative in reverse mode.
    """
    require_x64()
    start, data, t0, loss = started(net, data, t0, loss)
    saveat = diffrax.SaveAt(t1=True) if saveat is None else saveat
    checks = Checks()
    interval, tolerances, stop = settings(t0, t1, rtol, atol, stop_loss, checks)
    check_loss(loss, data, interval[1], checks)
    first = start.net if isinstance(start, FlowState) else start
    max_steps, max_events = lengths(first.neurons, data, saveat, max_steps, max_events)
    integrator = of_interface(Boost() if integrator is None else integrator)
    schedule = Schedule.of(saveat, loss, *interval, max_steps, checks)
    check_buffers(schedule, first, data)
    meter = diffrax.NoProgressMeter() if progress_meter is None else progress_meter
    check_type(
        "progress_meter", meter, diffrax.AbstractProgressMeter, "diffrax.TqdmProgressMeter()"
    )
    check_bool("throw", throw)
    if throw:
        interval = checks.raised(interval)
    length, schedule = schedule.length, schedule.padded(first, data)
    schedule, interval = _without_bad(schedule, interval, checks)
    asked = (start, data, schedule, interval, tolerances, stop)
    room = start.pattern.slots.shape[1] if isinstance(start, FlowState) else None
    prepared = integrator.prepare(data, room, first.activation)
    places = padded_length(max_events, lambda: BYTES_OF_EVENT)
    limits = (jnp.asarray(max_steps), jnp.asarray(max_events), places, meter)
    stops, geometry = stop_loss is not None, Geometry.of(data, first.activation)
    sol = _refusing_derivatives(prepared, asked, stops, geometry, *limits)
    sol = _judged(cropped(sol, length, max_events), checks)
    return _raised(sol) if throw else sol


def _without_bad(schedule: Schedule, interval, checks: Checks):
    """(schedule, interval), of no length and without times where traced arguments are bad."""
    broken, (t0, t1) = checks.broken(), interval
    if broken is None:
        return schedule, interval
    times = jnp.where(broken, jnp.inf, schedule.times)
    schedule = eqx.tree_at(lambda s: s.times, schedule, times)
    return schedule, (t0, jnp.where(broken, t0, t1))


def _judged(sol: Solution, checks: Checks) -> Solution:
    broken = checks.broken()
    if broken is None:
        return sol
    result = RESULTS.where(broken, RESULTS.invalid_argument, sol.result)
    return eqx.tree_at(lambda s: s.result, sol, result)


def _refusing_derivatives(integrator, asked, stops: bool, geometry, *limits) -> Solution:
    """`_integrate`, with an error for each derivative that there is not."""
    if isinstance(integrator, RungeKutta):
        asked = eqxi.nondifferentiable(asked, msg=_NO_FORWARD)
    elif stops:
        asked = eqxi.nondifferentiable(asked, msg=_NO_STOP)
    else:
        asked = forward_mode_only(asked, _NO_REVERSE)
    sol = _integrate(integrator, geometry, *asked, *limits)
    return eqxi.nondifferentiable_backward(sol, msg=_NO_REVERSE)


def _raised(sol: Solution) -> Solution:
    return sol.result.error_if(sol, ~ended_well(sol.result))


@compiled
def _integrate(
    integrator,
    geometry,
    start,
    data,
    schedule,
    interval,
    tolerances,
    stop_loss,
    max_steps,
    max_events,
    places,
    meter,
) -> Solution:
    activation = (start.net if isinstance(start, FlowState) else start).activation
    return Run(
        integrator,
        Problem.of(data, activation, schedule.loss, geometry),
        start,
        data,
        schedule,
        interval,
        tolerances,
        stop_loss,
        max_steps,
        max_events,
        places,
        meter,
    ).solve()

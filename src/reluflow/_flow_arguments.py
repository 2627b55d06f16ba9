"""The arguments of `rf.flow`: what is made of them, and which are refused."""

from typing import Any

import diffrax
import jax.numpy as jnp

from ._boost import Boost
from ._events._event_buffers import check_max_events
from ._integration._flow_state import FlowState
from ._integration._integrator import AbstractIntegrator
from ._integration._solution import Solution
from ._model._dataset import Dataset
from ._model._losses import AbstractLoss, as_loss, square
from ._model._network import Network, check_single_pair
from ._support._checks import Checks, as_float64, as_scalar, check_positive_int, check_type

_MAX_STEPS = 10_000_000
_MAX_STORED_STEPS = 4096


def lengths(neurons, data, saveat, max_steps, max_events) -> tuple[int, int]:
    """Of the buffers: those asked for, or the defaults."""
    check_type("saveat", saveat, diffrax.SaveAt)
    if max_steps is None:
        stores = getattr(saveat.subs, "steps", 0) or saveat.dense
        max_steps = _MAX_STORED_STEPS if stores else _MAX_STEPS
    max_events = 4 * neurons * data.samples + 256 if max_events is None else max_events
    check_positive_int("max_steps", max_steps)
    check_positive_int("max_events", max_events)
    check_max_events(max_events)
    return max_steps, max_events


def of_interface(integrator) -> AbstractIntegrator:
    integrator = integrator.integrator() if isinstance(integrator, Boost) else integrator
    if not isinstance(integrator, AbstractIntegrator):
        raise TypeError(
            "Argument `integrator` must be an integrator such as rf.Boost() or rf.RungeKutta(), "
            f"but it is {integrator!r}."
        )
    return integrator


def started(net, data, t0, loss) -> tuple[Network | FlowState, Dataset, Any, AbstractLoss]:
    """Where the run begins, on which data, when, and under which loss."""
    if not isinstance(net, Solution):
        check_single_pair(net, data)
        return net, data, 0.0 if t0 is None else t0, square if loss is None else as_loss(loss)
    for name, value in (("data", data), ("t0", t0), ("loss", loss)):
        if value is not None:
            raise ValueError(
                f"Argument `{name}` must not be given with a solution, which has its own: "
                "rf.flow(solution, t1=later). To begin anew, pass `solution.final`."
            )
    if net.state is None:
        raise ValueError(
            "Argument `net` must be a solution of rf.flow, but it is one of a descent."
        )
    if jnp.ndim(net.state.time) > 0:
        raise ValueError(
            f"Argument `net` must be a single solution, but it has lanes {net.state.time.shape}: "
            "use jax.vmap(lambda sol: rf.flow(sol, t1=later))(sols)."
        )
    return net.state, net.data, net.state.time, net.loss


def check_loss(loss: AbstractLoss, data: Dataset, t1, checks: Checks) -> None:
    loss.check_labels(data.y)
    if loss.quadratic:
        return
    checks.require(
        f"Argument `t1` must be finite for {loss}, under which no flow is known to come to rest",
        lambda t1: abs(t1) < jnp.inf,
        (t1,),
        "it is {}",
    )


def settings(t0, t1, rtol, atol, stop_loss, checks: Checks):
    """((t0, t1), (rtol, atol), stop_loss), checked."""
    if t1 is None:
        raise TypeError("Argument `t1` must be given: the end of the flow; jnp.inf for its rest.")
    t0, t1 = as_scalar("t0", t0, checks), as_scalar("t1", t1, checks, finite=False)
    rtol, atol = as_scalar("rtol", rtol, checks), as_scalar("atol", atol, checks)
    checks.require(
        "Argument `t1` must be finite, or jnp.inf to end at rest",
        lambda t1: t1 == t1,
        (t1,),
        "it is {}",
    )
    checks.require(
        "Argument `t1` must be greater than `t0`",
        lambda t0, t1: t0 < t1,
        (t0, t1),
        "it is {1} and `t0` is {0}",
    )
    checks.require(
        "Argument `rtol` must lie in [1e-13, 0.1] (float64 cannot meet less, and more is no "
        "solution)",
        lambda rtol: (rtol >= 1e-13) & (rtol <= 0.1),
        (rtol,),
        "it is {}",
    )
    checks.require(
        "Argument `atol` must not be negative", lambda atol: atol >= 0.0, (atol,), "it is {}"
    )
    if stop_loss is None:
        # No loss is below -1: without a loss to stop at, that guard never fires.
        return (t0, t1), (rtol, atol), as_float64("stop_loss", -1.0)
    stop = as_scalar("stop_loss", stop_loss, checks)
    checks.require(
        "Argument `stop_loss` must be positive (a flow comes near the loss 0, but not to it)",
        lambda stop: stop > 0.0,
        (stop,),
        "it is {}",
    )
    return (t0, t1), (rtol, atol), stop

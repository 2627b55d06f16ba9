"""`rf.Boost`: integrator B, as a solver of diffrax."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._dynamics._field import Problem
from .._integration._flow_state import FlowState
from .._integration._sliding import checked_max_sliding, decided
from .._model._dataset import Dataset
from .._model._network import Network
from .._model._shapes import Scalar
from .._support._checks import as_number
from ._integrator import BoostIntegrator
from ._previous_step import network_inside
from ._state import BoostState

_RTOL = 1e-8


class BoostInterpolation(diffrax.AbstractLocalInterpolation):
    """The network inside a step, as exact as its end, by another sweep."""

    # Narrower than diffrax declares them, and fixed, as all fields of a module are.
    t0: Scalar  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Scalar  # pyright: ignore[reportIncompatibleVariableOverride]
    state: BoostState
    problem: Problem

    def evaluate(self, t0, t1=None, left: bool = True) -> Network:
        del left
        if t1 is not None:
            first, last = self.evaluate(t0), self.evaluate(t1)
            return jax.tree.map(lambda a, b: b - a, first, last)
        # Time may have been transformed by diffrax: only the place inside the step counts.
        share = (t0 - self.t0) / jnp.where(self.t1 > self.t0, self.t1 - self.t0, 1.0)
        previous = self.state.previous
        time = previous.begin + jnp.clip(share, 0.0, 1.0) * previous.nodal_values.length
        net = network_inside(self.problem, previous, time)
        return net.with_activation(self.problem.activation)


class Boost(diffrax.AbstractAdaptiveSolver):
    """Integrator B: steps that the events of small neurons do not cut.

    Given the residual r(t), every neuron is a linear ODE of its own, whose flow is a product of
    Lorentz boosts; the unknown of a step is r, at seven nodes, and it is closed by a quasi-Newton
    iteration with the tangent kernel. Neurons locate their events one by one inside the step,
    which ends only where a large neuron makes r itself kink; the collocation is L-stable, so that
    a plateau costs no more steps the longer it is.

    It is made for small starts. Where all neurons are large every switch ends a step, as it does of
    `rf.RungeKutta`, whose steps are cheaper.

    For `rf.flow(net, data, t1)`, of which it is the default; and a solver of diffrax, for the state
    `rf.Network`, args = `rf.Dataset` and the term `diffrax.ODETerm(rf.field)`:

        diffrax.diffeqsolve(
            diffrax.ODETerm(rf.field), rf.Boost(), 0.0, 40.0, 0.1, net, args=data,
            stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8),
        )

    where it records no events, and no step is ended for a kink: `rf.flow` needs fewer steps. With
    `diffrax.ConstantStepSize`, a step in which the residual cannot be closed ends it with the
    result `nonlinear_divergence`: take a shorter one.

    Arguments:
        max_sliding: how many units of one neuron may slide at once; as for `rf.RungeKutta`.
        rtol: under `diffrax.diffeqsolve`, the closure is solved to a tenth of it; choose it no
            larger than the controller's. `rf.flow` passes its own.
    """

    max_sliding: int | None = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., BoostInterpolation]] = BoostInterpolation

    def __init__(self, *, max_sliding: int | np.integer | None = None, rtol: float = _RTOL):
        rtol = as_number("rtol", rtol)
        if not 1e-13 <= rtol <= 0.1:
            raise ValueError(f"Argument `rtol` must lie in [1e-13, 0.1], but it is {rtol}.")
        self.max_sliding, self.rtol = checked_max_sliding(max_sliding), rtol

    def integrator(self) -> BoostIntegrator:
        return BoostIntegrator(self.max_sliding)

    def order(self, terms):
        """Of the end of a step in its length, where r is smooth: the boosts' own, 6."""
        return 6

    def error_order(self, terms):
        """Of the estimate: the polynomial's error, integrated."""
        return 8

    def init(self, terms, t0, t1, y0: Network, args: Dataset) -> BoostState:
        y0 = _checked(terms, y0)
        problem = Problem.of(args, y0.activation)
        tolerances = (jnp.array(self.rtol), jnp.zeros(()))
        never = jnp.array(-1.0)
        integrator = self.integrator().prepare(args, activation=y0.activation)
        room = decided(integrator.max_sliding)
        start = FlowState.of(problem, y0, jnp.asarray(t0), room)
        return integrator.init(problem, start, tolerances, never)

    def step(self, terms, t0, t1, y0: Network, args: Dataset, solver_state: BoostState, made_jump):
        problem = Problem.of(args, y0.activation)
        integrator = self.integrator().prepare(args, activation=y0.activation)
        state, error = integrator.full_step(problem, solver_state, t1 - t0)
        y1 = integrator.network(state).with_activation(y0.activation)

        def share(before, after):
            return error * jnp.maximum(jnp.abs(before), jnp.abs(after))

        y_error = jax.tree.map(share, y0, y1)
        dense = {"state": state, "problem": problem}
        # A controller rejects it for its error, and then its result does not count; a constant
        # step is kept, whatever came of it.
        results = diffrax.RESULTS
        diverged: Any = results.nonlinear_divergence  # inherited, which pyright holds against it
        result = results.where(jnp.isfinite(error), results.successful, diverged)
        return y1, y_error, dense, state, result

    def func(self, terms, t0, y0: Network, args: Dataset):
        return terms.vf(t0, y0, args)


def _checked(terms, y0: Network) -> Network:
    """y0, unless the terms are not those of the flow, forwards in time."""
    term = getattr(terms, "term", terms)  # diffrax wraps it, with the direction of time
    if not isinstance(term, diffrax.ODETerm) or term.vector_field is not field:
        raise ValueError(
            "rf.Boost() integrates the gradient flow alone: argument `terms` must be "
            f"diffrax.ODETerm(rf.field), but it is {term}."
        )
    backwards = jnp.asarray(getattr(terms, "direction", 1)) < 0
    message = "rf.Boost() integrates forwards in time: argument `t1` must be greater than `t0`."
    return eqx.error_if(y0, backwards, message)


def field(t, net: Network, data: Dataset) -> Network:
    """The vector field of the flow, (log_scale', output', hidden') = (0, <D_j, w_j>, a_j D_j)
    in scaled coordinates, of the sides on which the neurons are.

    For `diffrax.ODETerm`. A solver that takes it as it stands ignores every boundary; `rf.Boost`
    looks only at its arguments, and takes no other term than this.

    Raises:
        TypeError: `net` is no `rf.Network`, or `data`, the args of diffrax, no `rf.Dataset`.
    """
    if not isinstance(net, Network) or not isinstance(data, Dataset):
        raise TypeError(
            "rf.field takes the state rf.Network and args=rf.Dataset, but they are a "
            f"{type(net).__name__} and a {type(data).__name__}."
        )
    preactivations = net.preactivations(data.x)
    residual = data.weighted(data.y - net(data.x))
    beta = net.activation.times_slope(preactivations, residual) / data.samples
    output = jnp.sum(beta * preactivations, axis=1)
    hidden = net.output[:, None] * (beta @ data.x)
    velocity = jax.tree.map(jnp.zeros_like, net)
    return eqx.tree_at(lambda n: (n.output, n.hidden), velocity, (output, hidden))

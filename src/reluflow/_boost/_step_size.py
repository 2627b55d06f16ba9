"""How long a step is: by its error, to the arrival of a growing neuron, to a loss."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._branch import run_if
from .._field import Problem, coefficients
from .._rest import held_on_line
from .._shapes import PerNeuron, PerSample, Scalar, Units
from ._collocation import NUM_NODES, POINTS, RESOLVED
from ._interpolation import lagrange_of_points
from ._neurons import Start
from ._propagator import size_of
from ._quasi_newton import StepSolution
from ._small import total

_LOSS_FOUND = 1e-6  # the loss is at `stop_loss` within this much of it, at best
_ROUNDINGS = 8.0 * float(np.finfo(np.float64).eps)
_ORDER = 8  # of the error in the step size, at least, where r is smooth
_ROUNDS = 4  # of Newton's method: to 1e-6
_SHORTEST = 1e-2  # times of a neuron's growth


class RejectedStep(eqx.Module):
    """Length and error of the last try of this step that converged, but was rejected."""

    length: Scalar  # inf where there is none
    error: Scalar

    @classmethod
    def none(cls) -> "RejectedStep":
        return cls(jnp.array(jnp.inf), jnp.array(1.0))

    def order(self, solution: StepSolution) -> Scalar:
        """Of the error in the length. A weak kink inside makes it low, as two attempts tell; but a
        shorter step may be rid of the kink: half way, of the logarithms, to that of a smooth r."""
        length = solution.nodal_values.length
        known = jnp.isfinite(self.length) & (length < self.length)
        shorter = jnp.where(known, length / self.length, 0.5)
        fell = jnp.log(solution.error / self.error)
        seen = jnp.clip(fell / jnp.log(shorter), 1.0, _ORDER)
        return jnp.where(known, jnp.sqrt(_ORDER * seen), float(_ORDER))

    def after(self, solution: StepSolution, asked, keep) -> "RejectedStep":
        """With this try, which has ended. One that did not converge, or that a kink cut short,
        tells nothing."""
        tells = (
            solution.converged
            & (solution.nodal_values.length == asked)
            & jnp.isfinite(solution.error)
        )
        now = RejectedStep(solution.nodal_values.length, jnp.maximum(solution.error, 1e-300))
        now = jax.tree.map(lambda a, b: jnp.where(tells, a, b), now, self)
        return jax.tree.map(lambda a, b: jnp.where(keep, a, b), RejectedStep.none(), now)


def next_size(solution: StepSolution, asked, tolerance, keep, rejected: RejectedStep) -> Scalar:
    """What the next step may have, by its error; the prediction of arrivals bounds it further."""
    ratio = tolerance / jnp.maximum(solution.error, 1e-16 * tolerance)
    factor = 0.9 * ratio ** (1.0 / rejected.order(solution))
    sweeps = solution.iterate.sweeps
    growth = jnp.where(sweeps <= 2, 100.0, jnp.where(sweeps <= 5, 5.0, 1.0))
    length = solution.nodal_values.length
    grown = length * jnp.clip(factor, 0.3, growth)
    # Cut short by a kink, a step says nothing of how long the next may be.
    cut = length < asked
    grown = jnp.where(cut, jnp.maximum(0.9 * asked, grown), grown)
    unconverged = jnp.clip(solution.iterate.trusted, 0.1, 0.5)
    shrunk = length * jnp.where(solution.converged, jnp.clip(factor, 0.1, 0.9), unconverged)
    shrunk = jnp.where(jnp.isfinite(solution.error), shrunk, 0.2 * length)
    return jnp.where(keep, grown, shrunk)


def until_arrival(
    problem: Problem,
    start: Start,
    residual: PerSample,
    noise: Scalar,
    tolerance: Scalar,
    bound: Scalar,
) -> Scalar:
    """The longest step in which no neuron's growth is missed by the polynomial of the residual.

    Neuron j contributes u_j e^{2 |D_j| t} to h as long as D_j stays as it is. On a step of length
    H, with x = 2 |D_j| H, the polynomial misses of it u_j e^x min(1, x^7 / RESOLVED),
    which moves a neuron by about a tenth of `bound` H times that. On a plateau u_j is tiny, and the
    step reaches as far as a logarithm says.

    noise: of the residual.
    """
    beta, pull = _pull(problem, start, residual)
    square = size_of(start.output, start.balance) ** 2
    reach = jnp.log(jnp.maximum(square * jnp.max(problem.length), 1e-300))
    contribution = 2.0 * start.log_scale + reach
    # A pull of rounding makes nobody grow; nor does one along which a neuron shrinks for ever.
    along = jnp.sum(beta * start.preactivation, axis=1)
    shrinks = held_on_line(problem, start.pattern) & (start.balance == 0.0)
    shrinks = shrinks & (start.output * along < 0.0)
    grows = (pull > bound * noise) & ~shrinks
    rate = 2.0 * jnp.where(grows, pull, 1.0)
    constant = contribution + jnp.log(0.1 * bound / rate) - jnp.log(0.5 * tolerance)

    # What is missed is the lesser of two functions, and too much where both are.
    beyond = _sum_with_log(1.0, -constant)
    within = _sum_with_log(1.0 + NUM_NODES, float(np.log(RESOLVED)) - constant)
    reached = jnp.maximum(jnp.maximum(beyond, within), _SHORTEST)
    return jnp.min(jnp.where(grows, reached / rate, jnp.inf))


def _sum_with_log(k: float, z: PerNeuron) -> PerNeuron:
    """x of x + k ln x = z: Newton's method in ln x, from above, which converges from there."""
    u = jnp.minimum(z / k, jnp.log(jnp.maximum(z, 1.0)))
    for _ in range(_ROUNDS):
        x = jnp.exp(u)
        u = u - (x + k * u - z) / (x + k)
    return jnp.exp(u)


def _pull(problem: Problem, start: Start, residual: PerSample) -> tuple[Units, PerNeuron]:
    """beta and |D_j|, of D_j = sum_b beta_jb u_b."""
    beta = coefficients(problem.pulls(residual), start.pattern) / problem.samples
    return beta, jnp.sqrt(jnp.maximum(jnp.sum(beta * (beta @ problem.gram), axis=1), 0.0))


class Stop(eqx.Module):
    """reached: the step ends at `stop_loss`, to within a part of it and never above; beyond: below
    that, and then `length` is where it is to end."""

    reached: Bool[Array, ""]
    beyond: Bool[Array, ""]
    length: Scalar

    @classmethod
    def of(
        cls,
        solution: StepSolution,
        problem: Problem,
        h: PerSample,
        stop_loss: Scalar,
        height: Scalar,
    ) -> "Stop":
        """h: at the beginning of the step. A stop_loss below 0 asks for none."""
        at_points = jnp.concatenate([h[None], solution.swept.h])
        losses = problem.mean_loss(at_points)
        # Rounding of the predictions: of the square loss, whose root they are, and of another.
        size = jnp.sqrt(2.0 * h.shape[0] * jnp.maximum(stop_loss, 1e-300))
        if not problem.plain:
            pull = jnp.mean(jnp.abs(solution.swept.residual[-1]))
            size = jnp.maximum(stop_loss, 1e-300) / jnp.where(pull > 0.0, pull, 1.0)
        part = jnp.clip(_ROUNDINGS * height / size, _LOSS_FOUND, 0.5)
        aim, ends = stop_loss * (1.0 - part / 2.0), losses[-1]
        wanted = stop_loss >= 0.0
        beyond = wanted & (ends < stop_loss * (1.0 - part))

        def find(_):
            first = jnp.maximum(jnp.argmax(losses <= aim), 1)
            points = jnp.asarray(POINTS)

            def halve(_, ends):
                low, high = ends
                middle = (low + high) / 2.0
                there = total(lagrange_of_points(middle)[:, None] * at_points, 0)
                above = problem.mean_loss(there) > aim
                return jnp.where(above, middle, low), jnp.where(above, high, middle)

            low, high = jax.lax.fori_loop(0, 52, halve, (points[first - 1], points[first]))
            return (low + high) / 2.0

        share = run_if(beyond, find, jnp.ones(()))
        return cls(
            wanted & ~beyond & (ends <= stop_loss), beyond, solution.nodal_values.length * share
        )

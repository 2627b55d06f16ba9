"""Whether a flow has come to rest, by what is known of every neuron.

Near rest the residual obeys r' = -Gamma K r with K constant, and Gamma too where the loss is
quadratic; of other losses nothing is said. In the range of Gamma K it decays; the rest of it,
r_inf, stays. The flow has nowhere to go if

    what decays moves no prediction by more than the tolerance, and each neuron
    stands      D_j(r_inf) = 0: nothing pulls at it in the end; or
    shrinks     it is held on a line, balanced, with a_j <D_j, w_j> < 0: it shrinks for ever, its
                share of every prediction being below the tolerance already.

A neuron of size e^-1000 that grows, however slowly, does neither: a plateau that it ends is no
rest. Where alpha is within the tolerance of 0 or 1, or a way out of w = 0 about to appear, a
shrinking or waiting neuron may still be let go. (But where such a way ends up as one along which
nothing pulls, a neuron that took it would stand there as well.)
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._model import _modes
from .._model._shapes import PerNeuron, PerSample, Scalar
from .._support._branch import run_if
from ._field import Neurons, Pattern, Problem, coefficients
from ._spectrum import Spectrum
from ._tangent_kernel import Here, kernels

# Of the largest eigenvalue of K: below this, one is rounding.
_RANGE = 1e-12
# A neuron whose |w_j| and <D_j, w_j> / |D_j| agree to this moves along its own line.
_BALANCED = 1e-12
_UNMOVED = 0.1  # of the tolerance: how far a neuron may still go where the rest is known
# Of the largest label: a residual below this is rounding, and a loss of such is none to wait for.
_ROUNDING = 256.0 * float(jnp.finfo(jnp.float64).eps)
_TINY = 1e-300
_DECAYED = 30.0  # e-foldings, after which a residual is what the integrator leaves of it


class Rest(eqx.Module):
    """near: within the tolerance; known: as exactly as it ever will be, so that the state is that
    of all later times, but for neurons that shrink, at these rates of log_scale."""

    near: Bool[Array, ""]
    known: Bool[Array, ""]
    rates: PerNeuron

    @classmethod
    def unknown(cls, neurons: int) -> "Rest":
        no = jnp.array(False)
        return cls(no, no, jnp.zeros((neurons,)))


def height_of(problem: Problem, residual: PerSample) -> Scalar:
    """What predictions are measured by: the largest label, or, of labels that are all zero, the
    largest residual."""
    height = jnp.max(jnp.abs(problem.labels))
    tiny = jnp.finfo(jnp.float64).tiny
    return jnp.where(height > 0.0, height, jnp.maximum(jnp.max(jnp.abs(residual)), tiny))


def scale_of(problem: Problem, height: Scalar, curvature: Scalar) -> Scalar:
    """What residuals are measured by: they move by the curvature times what predictions do."""
    return height if problem.plain else jnp.maximum(height * curvature, _TINY)


def largest_curvature(problem: Problem, h: PerSample) -> Scalar:
    """Of the loss at these predictions; 1 for the square loss."""
    return jnp.ones(()) if problem.plain else jnp.max(problem.curvature(h))


def bound_of(problem: Problem) -> Scalar:
    """|D_j| is at most this many times |r|: the root of the largest eigenvalue of the Gram matrix
    of inputs and slopes, over n. (Of inputs that are all zero, any positive number.)"""
    rows = jnp.max(jnp.sum(jnp.abs(problem.arrangement.sample_gram()), axis=1))
    rows = rows * problem.arrangement.largest_slope() ** 2
    return jnp.sqrt(jnp.where(rows > 0.0, rows, 1.0)) / problem.samples


def held_on_line(problem: Problem, pattern: Pattern) -> Bool[Array, " neurons"]:
    """Which neurons slide along dim - 1 boundaries, which are independent, or have no other way."""
    dim = problem.normals.shape[1]
    held = jnp.sum(pattern.mode == _modes.SLIDING, axis=1)
    return (held == dim - 1) | jnp.array(dim == 1)


class Standing(eqx.Module):
    """Where a flow stands: neurons over e^{log_scale}, a_j^2 - |w_j|^2, and the residual."""

    neurons: Neurons
    log_scale: PerNeuron
    balance: PerNeuron
    pattern: Pattern
    pending: Bool[Array, " neurons"]
    residual: PerSample
    elapsed: Scalar  # in the last step: what decays may have had its time

    def squares(self) -> PerNeuron:
        """|theta_j|^2."""
        return 2.0 * self.neurons.output**2 - self.balance

    def trace(self, problem: Problem) -> Scalar:
        """A bound of the trace of n K."""
        weight = jnp.exp(2.0 * self.log_scale)
        square = jnp.diag(problem.arrangement.sample_gram())
        square = square * problem.arrangement.largest_slope() ** 2
        return jnp.sum(weight * self.squares()) * jnp.sum(square)


def at_rest(
    problem: Problem,
    here: Standing,
    dissipation: Scalar,
    spectrum: Callable[[], Spectrum],
    rtol: Scalar,
    height: Scalar,
    stop_loss: Scalar,
) -> Rest:
    """Arguments: r K r; how r decays; what predictions are measured by; the loss to stop at, below
    0 where there is none: until it is there, the flow goes on."""
    if not problem.loss.quadratic:
        return Rest.unknown(here.log_scale.shape[0])
    # r K r is at most (trace of K) |r|^2 where what decays of r is small enough.
    largest = jnp.ones(()) if problem.weights is None else jnp.max(problem.weights)
    may = dissipation <= here.trace(problem) * (largest * rtol * height) ** 2
    may = may & ~jnp.any(here.pending)

    def look(_):
        return _look(problem, here, spectrum(), rtol, height, stop_loss)

    return run_if(may, look, Rest.unknown(here.log_scale.shape[0]))


def spectrum_of(problem: Problem, here: Standing) -> Spectrum:
    neurons = here.neurons
    at = Here(
        jnp.exp(2.0 * here.log_scale)[None], neurons.output[None], neurons.preactivation[None]
    )
    kernel = kernels(problem.arrangement, here.pattern, here.pattern.mode[None], at)[0]
    return Spectrum.of(kernel, problem.weights)


def _look(problem: Problem, here: Standing, spectrum: Spectrum, rtol, height, stop_loss) -> Rest:
    residual, neurons, rates = here.residual, here.neurons, spectrum.rates
    parts = spectrum.parts(residual)
    decays = rates > _RANGE * jnp.max(rates)
    lasting = spectrum.constant(residual) + spectrum.composed(jnp.where(decays, 0.0, parts))
    left = jnp.max(jnp.abs(spectrum.predictions(residual - lasting)))
    to_come = jnp.where(decays, parts / jnp.where(decays, rates, 1.0), 0.0)
    to_come = spectrum.composed(to_come)
    tolerance = rtol * height
    of_residuals = tolerance * spectrum.largest_curvature()
    # Every neuron: |D_j| in the end; and how far it goes until then, relative to itself.
    pull, along = _pull(problem, here, lasting)
    way, _ = _pull(problem, here, to_come)
    nothing = of_residuals * bound_of(problem) * jnp.sqrt(1.0 * residual.shape[0])
    square = here.squares()
    share = 2.0 * here.log_scale + jnp.log(jnp.maximum(square * jnp.max(problem.length), 1e-300))
    small = share + 2.0 * way <= jnp.log(tolerance)
    stands = (pull <= nothing) & (small | (share > jnp.log(tolerance)))
    balanced = jnp.abs(here.balance) <= _BALANCED * square
    line = held_on_line(problem, here.pattern) & balanced
    shrinks = line & (neurons.output * along < 0.0) & small
    held, waits = _margins(problem, here, lasting)
    rests = (stands & (waits >= -of_residuals)) | (shrinks & (held > of_residuals))
    # A loss to stop at that is to come, if its residual is more than rounding.
    least = spectrum.largest_curvature() * (_ROUNDING * height) ** 2 / 2.0
    remains = jnp.mean(lasting * spectrum.predictions(lasting)) / 2.0
    stops = (stop_loss > remains) & (stop_loss > least)
    near = (left <= tolerance) & jnp.all(rests) & ~stops
    far = jnp.max(jnp.where(shrinks, 0.0, way))
    slowest = jnp.min(jnp.where(decays, rates, jnp.inf))
    known = near & (far <= _UNMOVED * rtol) & (here.elapsed * slowest >= _DECAYED)
    speed = along / jnp.where(neurons.output != 0.0, neurons.output, 1.0)
    return Rest(near, known, jnp.where(shrinks & ~stands, speed, 0.0))


def _pull(problem: Problem, here: Standing, residual):
    """|D_j| and <D_j, w_j> under this residual."""
    beta = coefficients(problem.pulls(residual), here.pattern) / problem.samples
    square = jnp.sum(beta * (beta @ problem.gram), axis=1)
    along = jnp.sum(beta * here.neurons.preactivation, axis=1)
    return jnp.sqrt(jnp.maximum(square, 0.0)), along


def _margins(problem: Problem, here: Standing, residual) -> tuple[PerNeuron, PerNeuron]:
    """How far the guards of the sliding units are from zero; and how far the rays that are waited
    for are from leading out."""
    pattern = here.pattern
    toward = -jnp.sign(here.neurons.output)[:, None]
    pulls = problem.pulls(residual)
    low, high = (toward * part for part in pattern.sliding_guards(pulls))
    empty = pattern.slots >= pattern.mode.shape[1]
    least = jnp.finfo(jnp.float64).tiny
    of_low, of_high = (
        jnp.maximum(part, least) for part in pattern.amplification(problem.arrangement)
    )
    guards = jnp.minimum(low / of_low, high / of_high)
    guards = jnp.min(jnp.where(empty, jnp.inf, guards), axis=1, initial=jnp.inf)
    rises = toward * problem.arrangement.rises(pulls)
    appear = jnp.min(jnp.where(pattern.watched, rises, jnp.inf), axis=1, initial=jnp.inf)
    return guards, appear

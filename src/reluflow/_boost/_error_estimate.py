"""What a sweep tells of its step: its error, where it must end, and how far the guess was good."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._factorisations import solve
from .._shapes import Scalar
from ._collocation import BASIS_ELSEWHERE, INTEGRATION, INTERIOR, MOMENTS, POINTS
from ._collocation_problem import AT_POINTS, CollocationProblem, NodalValues
from ._iterate import NewtonMatrix
from ._record import StepEvents, Truncation
from ._small import small_product
from ._sweep import Swept

# Which kinks end a step that is differentiated: down to this much of the tolerance, but a kink
# must stay behind the end of its step by more than rounding.
_STRICTER, _STRICTEST = 1e-4, 1e-12
_NOTABLE = 1e-9  # of the residual
_NOTICED = 0.3  # of the tolerance
NEAR = 0.5  # a kink behind that is near the end of the step


def first_kink(
    collocation: CollocationProblem, events: StepEvents, length, differentiated: bool
) -> Scalar:
    """Where the first kink of r is that a polynomial would miss by more than the tolerance.

    A derivative of r jumps where r kinks, by the kink times that of the event's time, which is
    of the order of the neurons' own time; and it kinks where r'' jumps. A polynomial misses more of
    it than of r. In a step that is differentiated, weaker kinks end it, and the ends of slides.
    """
    s, tolerance = events.time, collocation.tolerance
    scale = _kink_scale(collocation, length)
    if differentiated:
        own = _own_time(collocation)
        scale = scale * events.kink * jnp.maximum(own / length, 1.0)
        tolerance = jnp.maximum(_STRICTER * tolerance, jnp.minimum(tolerance, _STRICTEST))
    else:
        scale = scale * events.jump
    strong = events.present() & (scale * jnp.minimum(s, 1.0 - s) > _NOTICED * tolerance)
    # The step may end a little later, so that the kink stays behind: x (x - s) scale is missed.
    allowed = 0.1 * tolerance / jnp.where(strong, scale, 1.0)
    end = (s + jnp.sqrt(s**2 + 4.0 * allowed)) / 2.0
    return jnp.min(jnp.where(strong, end, 1.0))


def notable(collocation: CollocationProblem, events: StepEvents) -> Bool[Array, " places"]:
    """Which events move the derivative of r by more than a small part of r."""
    moved = collocation.curvature * events.kink * _own_time(collocation)
    return events.present() & (moved > _NOTABLE * jnp.max(jnp.abs(collocation.residual)))


def _own_time(collocation: CollocationProblem) -> Scalar:
    """Of the neurons, while labels are unfitted."""
    return 1.0 / (collocation.bound * jnp.linalg.norm(collocation.problem.labels))


def _kink_scale(collocation: CollocationProblem, length) -> Scalar:
    return 0.03 * collocation.bound * collocation.curvature * length**2


def truncation_of(
    collocation: CollocationProblem, length, since, differentiated: bool
) -> Truncation:
    """From which kink on the rest of a sweep is of no use: its step will end there.

    Where a kink is near the end and the matrix is at hand, the rest still serves for a correction.
    """
    if differentiated:
        return Truncation.always()
    strength = _NOTICED * collocation.tolerance / _kink_scale(collocation, length)
    return Truncation(strength, jnp.where(since > 0, NEAR, 1.0))


def effect(collocation: CollocationProblem, change, length, kernel) -> Scalar:
    """Of a change of the residual at the nodes, integrated: on a neuron, and on predictions."""
    integrated = length * small_product(INTEGRATION, change)
    on_neuron = collocation.bound * jnp.max(jnp.linalg.norm(integrated, axis=1))
    return jnp.maximum(on_neuron, jnp.max(jnp.abs(integrated @ kernel)) / collocation.height)


def unsettled(collocation: CollocationProblem, used: NodalValues, swept: Swept) -> Scalar:
    """Where units slide: how far the residual that decides when they leave is from that of the
    sweep."""
    apart = jnp.max(jnp.abs(swept.residual - used.fine[1:])) - collocation.noise
    return jnp.where(
        jnp.any(collocation.slid()), jnp.maximum(apart, 0.0) / collocation.scale(), 0.0
    )


def trusted(swept: Swept, used: NodalValues, collocation: CollocationProblem) -> Scalar:
    guess = small_product(AT_POINTS[1:], used.nodes)
    scale = collocation.scale() * jnp.sqrt(1.0 * len(collocation.residual))
    off = jnp.linalg.norm(swept.residual - guess, axis=1) / scale
    good = jnp.cumprod(jnp.where(off < 0.3, 1.0, 0.0))
    return jnp.max(jnp.where(good > 0.0, jnp.asarray(POINTS[1:]), 0.0))


def error(
    collocation: CollocationProblem, used: NodalValues, swept: Swept, newton_matrix: NewtonMatrix
) -> Scalar:
    """What the polynomial misses of the residual off its nodes, integrated.

    To the end against P0, P1, P2, and from the beginning to every node: the end is of a much higher
    order than the inside, where states are saved and events happen.

    With m missed, the residual of the neurons is off by E, E' = -Gamma K (E - m), and they are
    moved by the integral of E - m: that of m where H Gamma K is small, but only m / (Gamma K) where
    it is large. Hence the factor (I + H Gamma K)^{-1}. Predictions move by K times as much.
    """
    left = jnp.concatenate([used.fine[:1], swept.residual])
    missed = left[0::2] - small_product(BASIS_ELSEWHERE.T, left[1::2])
    integrated = small_product(np.concatenate([MOMENTS, INTERIOR]), missed)
    samples = missed.shape[1]
    decay = newton_matrix.mean_kernel
    if newton_matrix.mean_curvature is not None:
        decay = newton_matrix.mean_curvature[:, None] * decay
    damping = jnp.eye(samples) + used.length * decay
    moved = solve(damping, integrated.T)
    moved = used.length * moved
    on_neuron = collocation.bound * jnp.max(jnp.linalg.norm(moved, axis=0))
    on_predictions = jnp.max(jnp.abs(newton_matrix.mean_kernel @ moved)) / collocation.height
    return jnp.maximum(on_neuron, on_predictions)

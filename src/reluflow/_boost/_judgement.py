"""What a sweep tells of its step: how wrong it is, where it must end, how far it can be trusted."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._factorisations import solve
from .._shapes import Scalar
from ._collocation import BASIS_ELSEWHERE, INTEGRATION, INTERIOR, MOMENTS, POINTS
from ._progress import Factors
from ._question import AT_POINTS, Question, Unknowns
from ._record import StepEvents, Worth
from ._small import small_product
from ._sweep import Swept

# Which kinks end a step that is differentiated: down to this much of the tolerance, but a kink
# must stay behind the end of its step by more than rounding.
_STRICTER, _STRICTEST = 1e-4, 1e-12
_NOTABLE = 1e-9  # of the residual
_NOTICED = 0.3  # of the tolerance
NEAR = 0.5  # a kink behind that is near the end of the step


def first_kink(question: Question, events: StepEvents, length, differentiated: bool) -> Scalar:
    """Where the first kink of r is that a polynomial would miss by more than the tolerance.

    A derivative of r jumps where r kinks, by the kink times that of the event's time, which is
    of the order of the neurons' own time; and it kinks where r'' jumps. A polynomial misses more of
    it than of r. Where it is asked for, weaker kinks end a step, and the ends of slides do.
    """
    s, tolerance = events.time, question.tolerance
    scale = _kink_scale(question, length)
    if differentiated:
        own = _own_time(question)
        scale = scale * events.kink * jnp.maximum(own / length, 1.0)
        tolerance = jnp.maximum(_STRICTER * tolerance, jnp.minimum(tolerance, _STRICTEST))
    else:
        scale = scale * events.jump
    strong = events.present() & (scale * jnp.minimum(s, 1.0 - s) > _NOTICED * tolerance)
    # The step may end a little later, so that the kink stays behind: x (x - s) scale is missed.
    allowed = 0.1 * tolerance / jnp.where(strong, scale, 1.0)
    end = (s + jnp.sqrt(s**2 + 4.0 * allowed)) / 2.0
    return jnp.min(jnp.where(strong, end, 1.0))


def notable(question: Question, events: StepEvents) -> Bool[Array, " places"]:
    """Which events move the derivative of r by more than a small part of r."""
    moved = question.curvature * events.kink * _own_time(question)
    return events.present() & (moved > _NOTABLE * jnp.max(jnp.abs(question.residual)))


def _own_time(question: Question) -> Scalar:
    """Of the neurons, while labels are unfitted."""
    return 1.0 / (question.bound * jnp.linalg.norm(question.problem.labels))


def _kink_scale(question: Question, length) -> Scalar:
    return 0.03 * question.bound * question.curvature * length**2


def worth(question: Question, length, since, differentiated: bool) -> Worth:
    """From which kink on the rest of a sweep is of no use: its step will end there.

    Where a kink is near the end and the matrix is at hand, the rest still serves for a correction.
    """
    if differentiated:
        return Worth.always()
    strength = _NOTICED * question.tolerance / _kink_scale(question, length)
    return Worth(strength, jnp.where(since > 0, NEAR, 1.0))


def effect(question: Question, change, length, kernel) -> Scalar:
    """Of a change of the residual at the nodes, integrated: on a neuron, and on predictions."""
    integrated = length * small_product(INTEGRATION, change)
    on_neuron = question.bound * jnp.max(jnp.linalg.norm(integrated, axis=1))
    return jnp.maximum(on_neuron, jnp.max(jnp.abs(integrated @ kernel)) / question.height)


def unsettled(question: Question, used: Unknowns, swept: Swept) -> Scalar:
    """How far, where units slide, the residual by which they cease to is from what came of it."""
    apart = jnp.max(jnp.abs(swept.residual - used.fine[1:])) - question.noise
    return jnp.where(jnp.any(question.slid()), jnp.maximum(apart, 0.0) / question.scale(), 0.0)


def trusted(swept: Swept, used: Unknowns, question: Question) -> Scalar:
    guess = small_product(AT_POINTS[1:], used.nodes)
    scale = question.scale() * jnp.sqrt(1.0 * len(question.residual))
    off = jnp.linalg.norm(swept.residual - guess, axis=1) / scale
    good = jnp.cumprod(jnp.where(off < 0.3, 1.0, 0.0))
    return jnp.max(jnp.where(good > 0.0, jnp.asarray(POINTS[1:]), 0.0))


def error(question: Question, used: Unknowns, swept: Swept, factors: Factors) -> Scalar:
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
    decay = factors.mean_kernel
    if factors.mean_curvature is not None:
        decay = factors.mean_curvature[:, None] * decay
    damping = jnp.eye(samples) + used.length * decay
    moved = solve(damping, integrated.T)
    moved = used.length * moved
    on_neuron = question.bound * jnp.max(jnp.linalg.norm(moved, axis=0))
    on_predictions = jnp.max(jnp.abs(factors.mean_kernel @ moved)) / question.height
    return jnp.maximum(on_neuron, on_predictions)

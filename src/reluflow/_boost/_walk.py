"""Every neuron on its way through a step: each at its own time, with its own events.

A hop takes all neurons at once, each from where it is towards the next point of the step; a
neuron that meets a boundary on the way goes only as far as that and turns there. Its next hop
begins at its event. Neurons do not wait for each other, and none of them ends the step.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._field import Pattern, Problem
from .._shapes import PerNeuron, Scalar, UnitFlags, Units
from .._solution import RESULTS
from ._path import Move, Reduced, lagrange, lagrange_of_points, propagate, total_growth

LARGEST = 300.0  # of a logarithm of weights: beyond it the step is far too long
SLACK = 64.0 * float(np.finfo(np.float64).eps)


class Course(eqx.Module):
    """What the neurons move under: the residual at the nodes of a step of this length.

    `fine` is the residual at all points that the neurons left in the sweep before. It is of higher
    order than the polynomial through the nodes, whose integral is exact rather than its values,
    and tells when a unit ceases to slide.
    """

    problem: Problem
    log_scale: PerNeuron  # at its beginning
    residual: Float[Array, "nodes samples"]
    fine: Float[Array, "points samples"]
    length: Scalar

    def residual_at(self, s: PerNeuron) -> Units:
        """r at a time of each neuron."""
        return jnp.tensordot(lagrange_of_points(s), self.fine, axes=[[0], [0]])


class StepEvents(eqx.Module):
    """The events of one step, in no order; those of time inf are none.

    kink: by how much r' jumps, to the accuracy of a bound.
    """

    time: Float[Array, " places"]
    neuron: Int[Array, " places"]
    sample: Int[Array, " places"]
    before: Int[Array, " places"]
    after: Int[Array, " places"]
    kink: Float[Array, " places"]
    count: Int[Array, ""]

    @classmethod
    def empty(cls, places: int) -> "StepEvents":
        unit = jnp.full((places,), -1, jnp.int32)
        mode = jnp.full((places,), -1, jnp.int8)
        return cls(
            jnp.full((places,), jnp.inf), unit, unit, mode, mode, jnp.zeros((places,)),
            jnp.array(0, jnp.int32),
        )  # fmt: skip

    def add(self, changed, time, neuron, sample, before, after, kink) -> "StepEvents":
        place = self.count + jnp.cumsum(changed.astype(jnp.int32)) - 1
        place = jnp.where(changed, place, self.time.shape[0])
        return StepEvents(
            self.time.at[place].set(time, mode="drop"),
            self.neuron.at[place].set(neuron.astype(jnp.int32), mode="drop"),
            self.sample.at[place].set(sample.astype(jnp.int32), mode="drop"),
            self.before.at[place].set(before.astype(jnp.int8), mode="drop"),
            self.after.at[place].set(after.astype(jnp.int8), mode="drop"),
            self.kink.at[place].set(kink, mode="drop"),
            self.count + jnp.sum(changed, dtype=jnp.int32),
        )


class Walk(eqx.Module):
    """The neurons; w = kept w(step start) + combination @ x, all over 2^exponent e^growth."""

    time: PerNeuron  # in [0, 1]
    target: PerNeuron  # the next hop ends here at the latest
    reduced: Reduced
    preactivation: Units
    combination: Units
    kept: PerNeuron
    growth: PerNeuron
    exponent: Int[Array, " neurons"]
    # on which pattern
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]
    # what the residual is to a neuron on its pattern: <x_k, D_i> and <D_i, D_l>
    force: Float[Array, "nodes neurons samples"]
    inner: Float[Array, "nodes nodes neurons"]
    # the record
    events: StepEvents
    hops: Int[Array, ""]
    ambiguous: Int[Array, ""]
    result: RESULTS

    def slack(self, problem: Problem) -> Units:
        return SLACK * size_of(self.reduced.output, self.reduced.balance)[:, None] * problem.length

    def side(self) -> Units:
        return jnp.where(self.pattern.mode == _modes.ACTIVE, 1.0, -1.0)

    def total_growth(self) -> PerNeuron:
        return total_growth(self.growth, self.exponent)


def kink_of(course: Course, walk: Walk, neuron, sample, residual) -> jax.Array:
    """weight a^2 |r_k| |x_k|^2 / n, a bound of the jump of r' when this unit switches."""
    samples = course.problem.labels.shape[0]
    k = jnp.minimum(sample, samples - 1)
    log_scale = course.log_scale[neuron] + walk.total_growth()[neuron]
    weight = jnp.exp(2.0 * jnp.minimum(log_scale, LARGEST))
    pull = jnp.abs(residual) * jnp.diag(course.problem.gram)[k] / samples
    return weight * walk.reduced.output[neuron] ** 2 * pull


def size_of(output: PerNeuron, balance: PerNeuron) -> PerNeuron:
    """|(a, w)| of each neuron, from a and a^2 - |w|^2."""
    return jnp.sqrt(jnp.maximum(2.0 * output**2 - balance, output**2))


def coefficients(residual, mode, slots, response):
    """beta = alpha r of some neurons, each under its own residual: (neurons, samples)."""
    beta = jnp.where(mode == _modes.ACTIVE, residual, 0.0)
    if slots.shape[1] > 0:
        held = -jnp.einsum("jsk,jk->js", response, residual)
        rows = jnp.arange(beta.shape[0])[:, None]
        beta = beta.at[rows, slots].add(held, mode="drop")
    return beta


def forces(course: Course, mode, slots, response, preactivation):
    """(<x_k, D_i>, <D_i, D_l>, <D_i, w>) of some neurons on a pattern."""
    samples = mode.shape[1]

    def at_node(residual):
        return coefficients(jnp.broadcast_to(residual, mode.shape), mode, slots, response)

    beta = jax.vmap(at_node)(course.residual) / samples
    force = beta @ course.problem.gram
    if slots.shape[1] > 0:  # zero up to rounding: made exact
        force = jnp.where(mode == _modes.SLIDING, 0.0, force)
    inner = jnp.einsum("ijk,ljk->ilj", beta, force)
    overlap = jnp.sum(beta * preactivation, axis=2)
    return force, inner, overlap


class Hop(eqx.Module):
    """How far each neuron gets, and what it meets there."""

    end: PerNeuron
    move: Move
    preactivation: Units
    sample: Int[Array, " neurons"]  # whose boundary it meets first
    meets: Bool[Array, " neurons"]
    vanishes: Bool[Array, " neurons"]  # its output
    early: Bool[Array, " neurons"]  # it has passed another boundary before


def crossed(walk: Walk, problem: Problem, preactivation: Units, slack) -> UnitFlags:
    """Which units are on the wrong side of their boundary."""
    threshold = jnp.where(walk.armed, 0.0, slack)
    free = walk.pattern.mode != _modes.SLIDING
    return free & (walk.side() * preactivation < -threshold)


def after(walk: Walk, move: Move) -> Units:
    """The preactivations at the end of a move."""
    moved = move.kept[:, None] * walk.preactivation + jnp.einsum(
        "ij,ijk->jk", move.gained, walk.force
    )
    if walk.pattern.slots.shape[1] > 0:
        moved = jnp.where(walk.pattern.mode == _modes.SLIDING, 0.0, moved)
    return moved


def locate(course: Course, walk: Walk, end, move: Move, sample, fraction, wanted, outputs) -> tuple:
    """The time in (walk.time, end) at which a neuron's unit, or its output, is at its zero.

    The first guess is exact for a constant D, along which f = a sinh(rho)/|D| + <D, w>
    (cosh(rho) - 1)/|D|^2 is all that moves a preactivation: a quadratic equation for e^rho.
    Newton's method, kept in the bracket, does the rest.
    """
    rows = jnp.arange(sample.shape[0])
    start = walk.reduced
    here = walk.preactivation[rows, sample]
    force = walk.force[:, rows, sample]
    lower_sign = jnp.sign(jnp.where(outputs, start.output, walk.side()[rows, sample]))

    def value_at(s):
        moved = propagate(start, walk.inner, walk.time, s, course.length)
        basis = lagrange(s)
        unit = moved.kept * here + jnp.sum(moved.gained * force, axis=0)
        unit_slope = moved.end.output * jnp.sum(basis * force, axis=0)
        slope = jnp.sum(basis * moved.end.overlap, axis=0)
        value = jnp.where(outputs, moved.end.output, unit)
        return value, course.length * jnp.where(outputs, slope, unit_slope)

    def newton(carry):
        s, low, high, count, _ = carry
        value, slope = value_at(s)
        inside = value * lower_sign > 0.0
        low, high = jnp.where(inside, s, low), jnp.where(inside, high, s)
        good = slope * lower_sign < 0.0
        step = jnp.where(good, -value / jnp.where(good, slope, 1.0), 0.0)
        new = s + step
        fine = good & (new >= low) & (new <= high)
        new = jnp.where(fine, new, (low + high) / 2.0)
        moving = wanted & (jnp.abs(new - s) > 4e-16 * jnp.maximum(s, high - walk.time))
        return jnp.where(wanted, new, s), low, high, count + 1, jnp.any(moving)

    guess = _guess(walk, end, move, fraction)
    guess = jnp.where(outputs, (walk.time + end) / 2.0, guess)
    s, *_ = jax.lax.while_loop(
        lambda carry: carry[-1] & (carry[-2] < 60),
        newton,
        (jnp.where(wanted, guess, end), walk.time, end, 0, jnp.array(True)),
    )
    # Once more, for the derivative: of a root it is that of the last Newton step.
    s = jax.lax.stop_gradient(s)
    value, slope = value_at(s)
    slope = jax.lax.stop_gradient(slope)
    polished = s - value / jnp.where(slope * lower_sign < 0.0, slope, jnp.inf)
    within = (polished >= walk.time) & (polished <= end)
    return jnp.where(wanted & within, polished, s)


def _guess(walk: Walk, end, move: Move, fraction) -> PerNeuron:
    """Where f is this fraction of its value at the end, for D constant at its mean."""
    rho = move.growth
    span = end - walk.time
    # The mean of D acts by <D, w>, from the q at the middle; per unit of rapidity.
    basis = lagrange((walk.time + end) / 2.0)
    along = jnp.sum(basis * walk.reduced.overlap, axis=0)
    square = jnp.einsum("ij,lj,ilj->j", basis, basis, walk.inner)
    speed = jnp.sqrt(jnp.where(square > 0.0, square, 1.0))
    a, b = walk.reduced.output, along / speed
    grow = jnp.exp(jnp.minimum(rho, 50.0))
    total = a * (grow - 1.0 / grow) / 2.0 + b * (grow + 1.0 / grow - 2.0) / 2.0
    f = fraction * total
    root = jnp.sign(a) * jnp.sqrt(jnp.maximum(f**2 + 2.0 * b * f + a**2, 0.0))
    up, down = a + b, (b + f) - root
    use_up = jnp.abs(up) >= jnp.abs(down)
    ratio = jnp.where(
        use_up,
        ((b + f) + root) / jnp.where(up != 0.0, up, 1.0),
        (b - a) / jnp.where(down != 0.0, down, 1.0),
    )
    good = (ratio >= 1.0) & jnp.isfinite(ratio) & (rho > 0.0)
    progress = jnp.log(jnp.where(good, ratio, 1.0)) / jnp.where(rho > 0.0, rho, 1.0)
    progress = jnp.where(good, progress, fraction)
    return walk.time + span * jnp.clip(progress, 0.0, 1.0)

"""The smooth pass: all neurons through a whole step at once, on the patterns they begin with.

That is right for a neuron up to the first interval in which it meets a boundary; from there on the
event pass takes it. In most steps most neurons meet no boundary.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._events import ON_BOUNDARY
from ._basis import Basis, BoundaryBasis
from ._collocation import GAUSS, NUM_NODES, POINTS, integrated_legendre, legendre_at
from ._event_detection import beyond, reached_by, tolerated, turning_point
from ._generator import Generator, Uncertainty
from ._line import on_line, propagated_on_line
from ._moving_neurons import MovingNeurons, StepEnd, Undisturbed
from ._pattern_groups import propagated_by_pattern
from ._propagator import Propagation, boosted, exponents, size_of, standing, total_growth
from ._slide_exit import Guards, sign
from ._small import small_product

_MOST_SHRINKS = 300.0
_SMALL = 2.0**-200  # a size that leaves room for its square

_SPANS = np.diff(POINTS)
_AT_POINTS = legendre_at(POINTS, NUM_NODES)
_TO_POINTS = integrated_legendre(POINTS[1:], NUM_NODES)
# (Gauss points, intervals, modes), times the length of the interval in a step of length 1
_AT_GAUSS = legendre_at(POINTS[:-1, None] + _SPANS[:, None] * GAUSS, NUM_NODES).T * _SPANS[:, None]


class SmoothPass(eqx.Module):
    """The neurons at every point after the first; for how many intervals each was undisturbed."""

    propagations: Propagation  # from the beginning of the step, with a leading axis: points
    preactivation: Float[Array, "points neurons boundaries"]
    armed: Bool[Array, "points neurons boundaries"]
    safe: Int[Array, " neurons"]

    def growth(self) -> Float[Array, "points neurons"]:
        return total_growth(self.propagations.growth, self.propagations.exponent)


def smooth_pass(
    generator: Generator, moving: MovingNeurons, uncertainty: Uncertainty
) -> SmoothPass:
    """From the beginning of the step, where `moving` must be."""
    basis = moving.basis(generator)
    propagations = _moves(generator, moving, basis)
    line = on_line(generator, moving)
    passed = _of_all(_TO_POINTS.T)
    propagations = propagated_on_line(
        propagations, line, moving.reduced, basis, passed, generator.length
    )
    reached = reached_by(moving, basis, propagations)
    slack = (
        ON_BOUNDARY
        * size_of(propagations.end.output, propagations.end.balance)[:, :, None]
        * generator.norms
    )
    clear = moving.side() * reached > 4.0 * slack
    armed = moving.armed | _so_far(clear)
    disturbed = _disturbed(
        generator, moving, basis, propagations, reached, armed, slack, uncertainty
    )
    safe = jnp.where(jnp.any(disturbed, axis=0), jnp.argmax(disturbed, axis=0), len(disturbed))
    return SmoothPass(propagations, reached, armed, safe)


def _so_far(happens):
    """Whether it has happened by then, along the first axis."""
    places = jnp.arange(len(happens), dtype=jnp.int32).reshape(-1, *(1,) * (happens.ndim - 1))
    return places >= jnp.min(jnp.where(happens, places, len(happens)), axis=0)


def _of_all(modal) -> Array:
    """Coefficients of the D_i that are the same for all neurons."""
    return jnp.asarray(modal)[..., None]


def _moves(generator: Generator, moving: MovingNeurons, basis: Basis) -> Propagation:
    """From the beginning to every later point. A neuron is rescaled later, by its next propagation
    or at the end of the step."""
    if isinstance(basis, BoundaryBasis):
        # The intervals of each class stand side by side, as if they were neurons.
        along = np.moveaxis(_AT_GAUSS, 1, 2)

        def weights(some: BoundaryBasis, groups: int):
            return _boosts(generator, some, np.repeat(along, groups, axis=2))

        return propagated_by_pattern(basis, moving.pattern, moving.reduced, weights, len(_SPANS))

    def interval(propagation: Propagation, weights):
        propagation = boosted(propagation, basis, weights, moving.reduced.balance)
        return propagation, propagation

    each = jnp.swapaxes(_boosts(generator, basis, _of_all(_AT_GAUSS)), 0, 1)
    return jax.lax.scan(interval, standing(moving.reduced), each)[1]


def _boosts(generator: Generator, basis: Basis, modal) -> Float[Array, "exponents ... vectors _"]:
    """The coefficients of the boosts, from those of the D_i at the Gauss points."""
    return exponents(basis, basis.weights(jnp.asarray(modal)), generator.length)


def _disturbed(
    generator: Generator,
    moving: MovingNeurons,
    basis: Basis,
    propagations: Propagation,
    reached,
    armed,
    slack,
    uncertainty,
) -> Bool[Array, "intervals neurons"]:
    """In which intervals a neuron may meet a boundary, or lose its output."""

    def before(first, later):
        return jnp.concatenate([first[None], later[:-1]])

    side = moving.side()
    free = moving.meets(generator)
    output = propagations.end.output
    previous = before(moving.reduced.output, output)
    growth = total_growth(propagations.growth, propagations.exponent)
    # (A neuron that shrinks for ever may do so by more than there are numbers.)
    shrinks = before(jnp.zeros_like(growth[0]), growth) - growth
    kept = jnp.exp(jnp.minimum(shrinks, _MOST_SHRINKS))
    armed = before(moving.armed, armed)
    crossing = beyond(free, side * reached, tolerated(generator, armed, slack, uncertainty))
    velocity = basis.velocities(_AT_POINTS.T)
    scale = generator.length * jnp.asarray(_SPANS)[:, None]
    slope0 = side * (scale * kept * previous)[:, :, None] * velocity[:-1]
    slope1 = side * (scale * output)[:, :, None] * velocity[1:]
    height0 = side * kept[:, :, None] * before(moving.preactivation, reached)
    units = (free, armed, crossing, height0, side * reached, slope0, slope1, slack)
    short = generator.boundaries <= NUM_NODES
    if short:  # side by side the more numerous neurons, or a CPU takes three times as long
        units = [jnp.swapaxes(leaf, -1, -2) for leaf in units]
    met = jnp.any(units[2] | jnp.isfinite(turning_point(*units)), axis=1 if short else 2)
    vanishes = previous * output < 0.0
    guards = _guards_at_points(generator, moving)
    fired = guards.fired(guards.values, sign(generator, moving), uncertainty.alpha)
    released = jnp.any(fired, axis=2)
    small = size_of(output, propagations.end.balance) < _SMALL
    return met | vanishes | released[1:] | small | moving.pending


def _guards_at_points(generator: Generator, moving: MovingNeurons) -> Guards:
    at_points = legendre_at(POINTS, len(POINTS)).T
    fine = generator.fine.map(lambda modes: small_product(at_points, modes))
    return Guards.of(generator.arrangement, moving.pattern, fine)


def undisturbed_end(generator: Generator, moving: MovingNeurons, smooth: SmoothPass) -> Undisturbed:
    """Every neuron at the end of its last interval that was undisturbed; `moving` is at the
    beginning of the step."""
    moved, at = smooth.safe > 0, jnp.maximum(smooth.safe - 1, 0)
    rows = jnp.arange(at.shape[0])

    def last(leaf):  # of shape (points, ..., neurons)
        return jnp.moveaxis(jnp.moveaxis(leaf, -1, 1)[at, rows], 0, -1)

    def put(new, old):  # the neurons first
        return jnp.where(moved.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

    propagation = jax.tree.map(last, smooth.propagations)
    gained = moving.basis(generator).combination(generator, moving.pattern, propagation.gained)
    ended = moving.ended()
    new = StepEnd(
        propagation.end.output,
        propagation.end.balance,
        smooth.preactivation[at, rows],
        gained,
        propagation.kept,
        propagation.growth,
        propagation.exponent,
        ended.pattern,
        smooth.armed[at, rows],
        ended.pending,
    )
    ended = jax.tree.map(lambda a, b: b if a is b else put(a, b), new, ended)
    overlap = jnp.where(moved, propagation.end.overlap, moving.reduced.overlap)
    return Undisturbed(smooth.safe, ended, overlap, moving.modes)

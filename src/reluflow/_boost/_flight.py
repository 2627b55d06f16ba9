"""All neurons through a whole step at once, as far as none of them meets anything.

On the patterns that they begin with, the neurons go from point to point of the step. That is
right for a neuron up to the first interval in which it meets a boundary; from there on it hops
(see `_hop`), with its own events. In most steps most neurons meet nothing.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._events import ON_BOUNDARY
from ._classes import moves_by_class
from ._collocation import (
    GAUSS,
    NUM_NODES,
    POINTS,
    integrated_legendre,
    legendre_at,
)
from ._course import Course, Uncertainty
from ._frame import BoundaryFrame, Frame
from ._line import moved_on_line, on_line
from ._meeting import beyond, reached_by, tolerated, turning_point
from ._path import Move, boosted, exponents, size_of, standing, total_growth
from ._release import guards, leave
from ._small import small_product
from ._walk import Ended, Landed, Walk

_MOST_SHRINKS = 300.0
_SMALL = 2.0**-200  # a size that leaves room for its square

_SPANS = np.diff(POINTS)
_AT_POINTS = legendre_at(POINTS, NUM_NODES)
_TO_POINTS = integrated_legendre(POINTS[1:], NUM_NODES)
# (Gauss points, intervals, modes), times the length of the interval in a step of length 1
_AT_GAUSS = legendre_at(POINTS[:-1, None] + _SPANS[:, None] * GAUSS, NUM_NODES).T * _SPANS[:, None]


class Flight(eqx.Module):
    """The neurons at every point after the first; for how many intervals each was undisturbed."""

    moves: Move  # from the beginning of the step, with a leading axis: points
    preactivation: Float[Array, "points neurons boundaries"]
    armed: Bool[Array, "points neurons boundaries"]
    safe: Int[Array, " neurons"]

    def growth(self) -> Float[Array, "points neurons"]:
        return total_growth(self.moves.growth, self.moves.exponent)


def fly(course: Course, walk: Walk, uncertainty: Uncertainty) -> Flight:
    """From the beginning of the step, where `walk` must be."""
    frame = walk.frame(course)
    moves = _moves(course, walk, frame)
    line = on_line(course, walk)
    passed = _of_all(_TO_POINTS.T)
    moves = moved_on_line(moves, line, walk.reduced, frame, passed, course.length)
    reached = reached_by(walk, frame, moves)
    slack = ON_BOUNDARY * size_of(moves.end.output, moves.end.balance)[:, :, None] * course.norms
    clear = walk.side() * reached > 4.0 * slack
    armed = walk.armed | _so_far(clear)
    disturbed = _disturbed(course, walk, frame, moves, reached, armed, slack, uncertainty)
    safe = jnp.where(jnp.any(disturbed, axis=0), jnp.argmax(disturbed, axis=0), len(disturbed))
    return Flight(moves, reached, armed, safe)


def _so_far(happens):
    """Whether it has happened by then, along the first axis."""
    places = jnp.arange(len(happens), dtype=jnp.int32).reshape(-1, *(1,) * (happens.ndim - 1))
    return places >= jnp.min(jnp.where(happens, places, len(happens)), axis=0)


def _of_all(modal) -> Array:
    """Coefficients of the D_i that are the same for all neurons."""
    return jnp.asarray(modal)[..., None]


def _moves(course: Course, walk: Walk, frame: Frame) -> Move:
    """From the beginning to every later point. A neuron is rescaled later, by its next hop or
    at the end of the step."""
    if isinstance(frame, BoundaryFrame):
        # The intervals of each class stand side by side, as if they were neurons.
        along = np.moveaxis(_AT_GAUSS, 1, 2)

        def weights(some: BoundaryFrame, classes: int):
            return _boosts(course, some, np.repeat(along, classes, axis=2))

        return moves_by_class(frame, walk.pattern, walk.reduced, weights, len(_SPANS))

    def interval(move: Move, weights):
        move = boosted(move, frame, weights, walk.reduced.balance)
        return move, move

    each = jnp.swapaxes(_boosts(course, frame, _of_all(_AT_GAUSS)), 0, 1)
    return jax.lax.scan(interval, standing(walk.reduced), each)[1]


def _boosts(course: Course, frame: Frame, modal) -> Float[Array, "exponents ... vectors _"]:
    """The coefficients of the boosts, from those of the D_i at the Gauss points."""
    return exponents(frame, frame.weights(jnp.asarray(modal)), course.length)


def _disturbed(
    course: Course, walk: Walk, frame: Frame, moves: Move, reached, armed, slack, uncertainty
) -> Bool[Array, "intervals neurons"]:
    """In which intervals a neuron may meet a boundary, or lose its output."""

    def before(first, later):
        return jnp.concatenate([first[None], later[:-1]])

    side = walk.side()
    free = walk.meets(course)
    output = moves.end.output
    previous = before(walk.reduced.output, output)
    growth = total_growth(moves.growth, moves.exponent)
    # (A neuron that shrinks for ever may do so by more than there are numbers.)
    shrinks = before(jnp.zeros_like(growth[0]), growth) - growth
    kept = jnp.exp(jnp.minimum(shrinks, _MOST_SHRINKS))
    armed = before(walk.armed, armed)
    crossing = beyond(free, side * reached, tolerated(course, armed, slack, uncertainty))
    velocity = frame.velocity(_of_all(_AT_POINTS.T))
    scale = course.length * jnp.asarray(_SPANS)[:, None]
    slope0 = side * (scale * kept * previous)[:, :, None] * velocity[:-1]
    slope1 = side * (scale * output)[:, :, None] * velocity[1:]
    height0 = side * kept[:, :, None] * before(walk.preactivation, reached)
    units = (free, armed, crossing, height0, side * reached, slope0, slope1, slack)
    short = course.boundaries <= NUM_NODES
    if short:  # side by side the more numerous neurons, or a CPU takes three times as long
        units = [jnp.swapaxes(leaf, -1, -2) for leaf in units]
    met = jnp.any(units[2] | jnp.isfinite(turning_point(*units)), axis=1 if short else 2)
    vanishes = previous * output < 0.0
    released = jnp.any(
        leave(course, walk, _guards_at_points(course, walk), uncertainty.alpha), axis=2
    )
    small = size_of(output, moves.end.balance) < _SMALL
    return met | vanishes | released[1:] | small | walk.pending


def _guards_at_points(course: Course, walk: Walk):
    at_points = legendre_at(POINTS, len(POINTS)).T
    fine = course.fine.map(lambda modes: small_product(at_points, modes))
    return guards(course.arrangement, walk.pattern, fine)


def land(course: Course, walk: Walk, flight: Flight) -> Landed:
    """Every neuron at the end of its last interval that was undisturbed; `walk` is at the beginning
    of the step."""
    moved, at = flight.safe > 0, jnp.maximum(flight.safe - 1, 0)
    rows = jnp.arange(at.shape[0])

    def last(leaf):  # of shape (points, ..., neurons)
        return jnp.moveaxis(jnp.moveaxis(leaf, -1, 1)[at, rows], 0, -1)

    def put(new, old):  # the neurons first
        return jnp.where(moved.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

    move = jax.tree.map(last, flight.moves)
    gained = walk.frame(course).combination(course, walk.pattern, move.gained)
    ended = walk.ended()
    new = Ended(
        move.end.output,
        move.end.balance,
        flight.preactivation[at, rows],
        gained,
        move.kept,
        move.growth,
        move.exponent,
        ended.pattern,
        flight.armed[at, rows],
        ended.pending,
    )
    ended = jax.tree.map(lambda a, b: b if a is b else put(a, b), new, ended)
    overlap = jnp.where(moved, move.end.overlap, walk.reduced.overlap)
    return Landed(flight.safe, ended, overlap, walk.modes)

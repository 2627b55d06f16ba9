"""The ways of a neuron out of w = 0, with the residuals frozen: cone by cone, in straight lines,
from the velocity with which it arrived."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Pattern, coefficients
from .._model import _modes
from .._model._arrangement import Arrangement
from ._complementarity import Settled
from ._thresholds import RETURNED, ROUNDING

# Where the ways of a neuron from w = 0 begin: with its velocity; along the ray in which it would
# grow fastest; and, at 45 degrees to either side of its velocity, where gradient descent is, which
# chatters about a slide.
_VELOCITY, _RAY, _LEFT, _RIGHT = range(4)


class Meeting(eqx.Module):
    """A complementarity problem to be solved; `direction` is where a neuron at w = 0 is going."""

    mode: Int[Array, " boundaries"]
    on: Bool[Array, " boundaries"]
    status: Int[Array, " boundaries"]
    fixed: Bool[Array, " boundaries"]
    departs: Bool[Array, " boundaries"]
    direction: Float[Array, " boundaries"]


def leaving_zero(arrangement: Arrangement, direction) -> Meeting:
    """From w = 0 in this direction: units on their side of it, or on their boundaries."""
    zero = jnp.abs(direction) <= RETURNED * jnp.max(jnp.abs(direction))
    exists = arrangement.exists()
    side = jnp.where(direction > 0.0, _modes.ACTIVE, _modes.INACTIVE)
    mode = jnp.where(zero, _modes.SLIDING, side)
    mode = jnp.where(exists, mode, _modes.RESTING).astype(jnp.int32)
    zero, no = zero & exists, jnp.zeros_like(zero)
    return Meeting(mode, zero, mode, no, no, jnp.where(zero, 0.0, direction))


class Way(eqx.Module):
    """The way of a neuron from w = 0, with the residuals frozen; elsewhere one problem's solution.

    begins: where. The way that begins with the velocity counts, unless it comes back to w = 0 and
    there is another. It escapes along a ray, or stands in a cone in which nothing pulls at it.
    several: whether another way leads elsewhere.
    """

    meeting: Meeting
    begins: Int[Array, ""]
    count: Int[Array, ""]
    done: Bool[Array, ""]
    chosen: Settled
    escapes: Bool[Array, ""]
    stands: Bool[Array, ""]
    several: Bool[Array, ""]


def onward(
    arrangement: Arrangement, pulls, standing, first: Meeting, found: Settled, way: Way
) -> Way:
    """On from the solution of a problem: to the next boundaries, or to where another way begins."""
    reached, escapes, stands, returns = _straight(arrangement, pulls, standing, way, found)
    late = way.count > 4 * reached.shape[0] + 16
    over = escapes | stands | returns | ~found.found | late
    ends = escapes | stands
    decides = (way.begins == _VELOCITY) | ((way.begins == _RAY) & ~way.escapes & ~way.stands & ends)
    other = (escapes != way.escapes) | (escapes & jnp.any(found.mode != way.chosen.mode))
    begins = jnp.where(over, way.begins + 1, way.begins)
    another, none = _beginning(arrangement, pulls, standing, first, begins)
    slides = found.mode == _modes.SLIDING
    came = jnp.where(found.mode == _modes.ACTIVE, _modes.ACTIVE, _modes.INACTIVE)
    further = Meeting(
        found.mode,
        slides | (reached == 0.0),
        jnp.where(slides, _modes.SLIDING, came),
        jnp.zeros_like(slides),
        jnp.zeros_like(slides),
        reached,
    )
    return Way(
        meeting=jax.tree.map(lambda a, b: jnp.where(over, a, b), another, further),
        begins=begins,
        count=jnp.where(over, 0, way.count + 1),
        done=over & none,
        chosen=jax.tree.map(lambda a, b: jnp.where(decides, a, b), found, way.chosen),
        escapes=jnp.where(decides, escapes, way.escapes),
        stands=jnp.where(decides, stands, way.stands),
        several=way.several | (over & ~decides & ends & other),
    )


def _straight(arrangement: Arrangement, pulls, standing, way: Way, found: Settled):
    """In a straight line to the next boundaries: where that is, and whether the way ends before."""
    pattern = Pattern(
        found.mode[None], found.slots[None], found.response[None], standing.watched[None]
    )
    beta = coefficients(pulls, pattern)[0]
    force, effort = arrangement.gram @ beta, jnp.abs(arrangement.gram) @ jnp.abs(beta)
    moving = (jnp.abs(force) > ROUNDING * effort) & (found.mode != _modes.SLIDING)
    z = jnp.where(moving, standing.sign * force, 0.0)
    here = way.meeting.direction
    toward = moving & (here * z < 0.0)
    wait = jnp.where(toward, jnp.abs(here) / jnp.where(toward, jnp.abs(z), 1.0), jnp.inf)
    first = jnp.min(wait)
    reached = here + z * jnp.where(jnp.isfinite(first), first, 0.0)
    reached = jnp.where(toward & (wait <= (1.0 + RETURNED) * first), 0.0, reached)
    size = jnp.max(jnp.abs(here) / arrangement.length)
    near = jnp.max(jnp.abs(reached) / arrangement.length) <= RETURNED * size
    escapes = jnp.any(moving) & ~jnp.any(toward)
    return reached, escapes, ~jnp.any(moving), jnp.any(toward) & near


def _beginning(arrangement: Arrangement, pulls, standing, first: Meeting, begins):
    """Where a way begins, and whether there is none."""
    slid = standing.mode == _modes.SLIDING
    across = arrangement.gram @ jnp.where(slid, 1.0 / arrangement.length, 0.0)
    pace = jnp.max(jnp.abs(first.direction) / arrangement.length)
    beside = jnp.where(begins == _LEFT, pace, -pace) * across
    direction = first.direction + beside
    if arrangement.rays.shape[0]:
        rises = standing.sign * arrangement.rises(pulls)
        best = jnp.argmax(rises)
        ray = jnp.where(rises[best] > 0.0, arrangement.rays[best], first.direction)
        direction = jnp.where(begins == _RAY, ray, direction)
    else:
        direction = jnp.where(begins == _RAY, first.direction, direction)
    none = (begins > _RIGHT) | ((begins > _RAY) & ~jnp.any(slid))
    return leaving_zero(arrangement, direction), none

"""Mode transitions: what a neuron does at the boundaries that it has met.

    arrives        the first unit crosses, or slides, or comes to rest (a complementarity problem)
    leaves         a unit that slid does so no more, on the side where its alpha is 0 or 1
    vanishes       a_j = 0 while units slide: beyond it their boundaries repel
    starts         a start on boundaries; at w = 0 exactly, a neuron stays there (relu'(0) = 0)
    through w = 0  the neuron goes on from its arriving velocity, cone by cone: see `_rays`
    a ray appears  a neuron at rest at w = 0 is let go

Both integrators tell what has `Fired`, and take the `Transition`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._model import _modes
from .._model._arrangement import Arrangement, Pulls
from .._model._rays import unwatched
from .._model._shapes import Scalar
from ._ambiguity import LEAVES, REPELS, RESTS, VANISHES, Ambiguity
from ._complementarity import Boundary, Settled, settle
from ._thresholds import AT_START, RETURNED, ROUNDING, ROUNDING_ALONE, SAME_INSTANT
from ._ways import Meeting, Way, leaving_zero, onward

# Boundaries a neuron can stand on in one instant, besides those that it slides along.
_PLACES = 32


class Fired(eqx.Module):
    """What one neuron has met.

    boundary: of the unit that did; ray: which appeared.
    """

    boundary: Int[Array, "*#neurons"]
    ray: Int[Array, "*#neurons"]
    arrives: Bool[Array, "*#neurons"]
    leaves_low: Bool[Array, "*#neurons"]
    leaves_high: Bool[Array, "*#neurons"]
    vanishes: Bool[Array, "*#neurons"]
    starts: Bool[Array, "*#neurons"]
    appears: Bool[Array, "*#neurons"]


class Standing(eqx.Module):
    """One neuron where it is met, in scaled coordinates.

    near: how far from its boundary a unit may be that stands on it; armed: which units have been
    clear of theirs since they last stood on it; watched: the rays whose appearance lets it go.
    """

    mode: Int[Array, "*#neurons boundaries"]
    preactivation: Float[Array, "*#neurons boundaries"]
    velocity: Float[Array, "*#neurons boundaries"]  # of the preactivations
    near: Float[Array, "*#neurons boundaries"]
    armed: Bool[Array, "*#neurons boundaries"]
    watched: Bool[Array, "*#neurons rays"]
    sign: Float[Array, "*#neurons"]  # of a_j; where that is zero, of where it goes


class Transition(eqx.Module):
    """The neuron's next pattern.

    found: whether there is one; fits: whether there was room.
    """

    mode: Int[Array, "*#neurons boundaries"]
    slots: Int[Array, "*#neurons max_sliding"]
    response: Float[Array, "*#neurons max_sliding boundaries"]
    watched: Bool[Array, "*#neurons rays"]
    stands: Bool[Array, "*#neurons boundaries"]  # the boundaries it stands on: their p are 0
    found: Bool[Array, "*#neurons"]
    fits: Bool[Array, "*#neurons"]
    ambiguity: Ambiguity


def on_boundary(preactivation, size, length):
    """Which units of a start stand on their boundaries, to rounding."""
    return jnp.abs(preactivation) <= AT_START * size[:, None] * length


def places(boundaries: int, max_sliding: int) -> int:
    """For how many boundaries of one neuron there is room in one instant."""
    return min(boundaries, max(_PLACES, max_sliding + 4))


def ties(mode, preactivation, velocity, near, armed):
    """Units that are on their boundaries at this instant, and on their way across, or that have
    not come away from them yet.

    A small p alone says nothing: beside a neuron that has grown, a dead unit's is small. Where a
    unit rests nothing pulls; should something begin to, its guard will tell.
    """
    side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
    here = (side * preactivation <= near) & (~armed | (side * velocity < 0.0))
    return here & (mode != _modes.SLIDING) & (mode != _modes.RESTING)


def alone(mode, velocity, pull, sign, two_sided):
    """One unit that arrives at its boundary while no other of its neuron stands on one.

    Arguments, of any shape:
        mode: from which it comes.
        velocity: of its preactivation, in that mode.
        pull: (F^+ - F^-) |u_b|^2 / n, the part of the velocity over a_j that alpha is the factor
            of.
        sign: of a_j, the other factor.
        two_sided: whether something pulls on the negative side: then no unit rests.

    Returns (its next mode; whether the complementarity problem need not be asked).
    """
    active = mode == _modes.ACTIVE
    outward = jnp.where(active, -1.0, 1.0)
    beyond = outward * (velocity + sign * jnp.where(active, -pull, pull))
    noise = ROUNDING_ALONE * jnp.abs(pull)
    # What is small beside the unit's own pull may still be that of inputs almost orthogonal to it.
    crosses, rests = beyond > noise, active & (jnp.abs(beyond) <= ROUNDING * jnp.abs(pull))
    rests = rests & ~two_sided
    slides = (beyond < -noise) & (sign * pull < 0.0) & (outward * velocity > noise)
    crossed = jnp.where(active, _modes.INACTIVE, _modes.ACTIVE)
    next_mode = jnp.where(rests, _modes.RESTING, jnp.where(slides, _modes.SLIDING, crossed))
    return next_mode, crosses | rests


def transition(
    arrangement: Arrangement,
    pulls: Pulls,
    uncertainty: Scalar,
    standing: Standing,
    fired: Fired,
    max_sliding: int,
) -> Transition:
    """What one neuron does next.

    Arguments:
        pulls, uncertainty: F, and how far the residual may be from the flow's.
        max_sliding: the room for sliding units.
    """
    meeting, at_origin = _meeting(arrangement, standing, fired)
    nowhere = fired.starts & ~jnp.any(standing.preactivation != 0.0)

    def settled(meeting: Meeting) -> Settled:
        capacity = places(meeting.mode.shape[0], max_sliding)
        boundary = Boundary.gather(
            meeting.on, meeting.mode, meeting.status, meeting.fixed, meeting.departs, capacity
        )
        return settle(
            arrangement, pulls, uncertainty, standing.sign, meeting.mode, boundary, max_sliding
        )

    def step(way: Way) -> Way:
        found = settled(way.meeting)
        further = onward(arrangement, pulls, standing, meeting, found, way)
        # Elsewhere than at w = 0 there is one problem, and no way to follow.
        chosen = jax.tree.map(lambda a, b: jnp.where(at_origin, a, b), further.chosen, found)
        return eqx.tree_at(
            lambda way: (way.chosen, way.done), further, (chosen, further.done | ~at_origin)
        )

    blank = Settled.none(meeting.mode, max_sliding)
    no, zero = jnp.array(False), jnp.array(0)
    way = Way(meeting, zero, zero, no, blank, no, no, no)
    way = jax.lax.while_loop(lambda way: ~way.done, step, way)
    found = way.chosen
    stays = (at_origin & ~way.escapes) | nowhere
    gone = jnp.array(arrangement.boundaries, found.slots.dtype)
    # Where a way leads into a cone in which all units are off, it is off for good. Where it stands
    # elsewhere, nothing pulls now: a unit slides, whose alpha may reach its end, or all is fitted.
    dead = way.stands & _is_dead(arrangement, found.mode)
    waits = stays & ~nowhere & ~dead & ~_all_off(arrangement)
    return Transition(
        mode=jnp.where(stays, _modes.RESTING, found.mode),
        slots=jnp.where(stays, gone, found.slots),
        response=jnp.where(stays, 0.0, found.response),
        watched=waits & _waited_for(arrangement, standing, pulls),
        stands=meeting.on | at_origin | fired.appears,
        found=found.found,
        fits=found.fits,
        ambiguity=_ambiguity(arrangement, pulls, standing, fired, at_origin, nowhere, way),
    )


def _waited_for(arrangement: Arrangement, standing: Standing, pulls: Pulls):
    """The rays along which no way leads out."""
    exists = jnp.any(arrangement.rays != 0.0, axis=1)
    return exists & (standing.sign * arrangement.rises(pulls) <= 0.0)


def _all_off(arrangement: Arrangement) -> Bool[Array, ""]:
    """Whether there is a cone in which no sample is active, as far as the rays tell: an edge of it
    is a ray of which that holds. Where something pulls on both sides of a boundary, there is none.
    """
    rays = arrangement.rays
    off = jnp.all(rays <= 0.0, axis=1) & jnp.any(rays < 0.0, axis=1)
    return jnp.any(off) & ~jnp.any(arrangement.two_sided())


def _is_dead(arrangement: Arrangement, mode) -> Bool[Array, ""]:
    """Whether nothing is active, and nothing slides."""
    inactive = (mode == _modes.INACTIVE) & ~arrangement.two_sided()
    return jnp.all(inactive | (mode == _modes.RESTING))


def _meeting(arrangement: Arrangement, standing: Standing, fired: Fired):
    """The problem as the neuron meets it, and whether it is at w = 0, on its way through."""
    mode, p = standing.mode, standing.preactivation
    slides = mode == _modes.SLIDING
    this = (jnp.arange(mode.shape[0]) == fired.boundary) & ~fired.starts
    # A start was told what stands on a boundary with more leave, and takes it for disarmed.
    near = jnp.where(fired.starts, ~standing.armed, jnp.abs(p) <= standing.near)
    tied = ties(mode, p, standing.velocity, standing.near, standing.armed)
    # Of a neuron that has left w = 0 this instant the cone is known: its units are not met again,
    # whatever rounding says of their velocities, because one of them ceases to slide.
    fresh = jnp.all((jnp.abs(p) <= standing.near) & ~standing.armed)
    tied = tied & ~(fresh & (fired.leaves_low | fired.leaves_high))
    arrives = jnp.where(fired.starts, near, (this & fired.arrives) | tied)
    came = jnp.where(mode == _modes.ACTIVE, _modes.ACTIVE, _modes.INACTIVE)
    low, high = this & fired.leaves_low, this & fired.leaves_high
    held = jnp.where(low | fired.vanishes, _modes.INACTIVE, _modes.SLIDING)
    status = jnp.where(slides, jnp.where(high, _modes.ACTIVE, held), came)
    # Left an instant ago: beyond rounding, it is off the boundary already.
    side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
    departs = tied & ~this & ~standing.armed & (side * standing.velocity > 0.0) & ~fired.starts
    meeting = Meeting(mode, slides | arrives, status, low | high, departs, jnp.zeros_like(p))
    # All boundaries at once are w = 0, as far as the inputs see it.
    direction = jnp.where(fired.starts, p, jnp.where(slides, 0.0, standing.velocity))
    meets_all = jnp.where(fired.starts, jnp.all(near | slides), _vanishes(standing))
    at_origin = meets_all & (fired.arrives | fired.starts) & jnp.any(direction != 0.0)
    if arrangement.rays.shape[0]:
        ray = arrangement.rays[jnp.minimum(fired.ray, arrangement.rays.shape[0] - 1)]
        direction = jnp.where(fired.appears, ray, direction)
    there = at_origin | fired.appears
    toward = leaving_zero(arrangement, direction)
    return jax.tree.map(lambda a, b: jnp.where(there, a, b), toward, meeting), at_origin


def _vanishes(standing: Standing) -> Bool[Array, ""]:
    """Whether all preactivations vanish at one instant, which is now, to rounding.

    Of a neuron that comes from elsewhere: one that has just left w = 0 is near it, too, but moves
    away from its boundaries.

    A unit that moves slowly tells the instant badly: where it is on its boundary to rounding,
    others may be off theirs by as much more as they are faster. So they are asked about the instant
    at which the fastest is on its own.
    """
    p, velocity, near = standing.preactivation, standing.velocity, standing.near
    slides = standing.mode == _modes.SLIDING
    speed = jnp.where(slides, 0.0, jnp.abs(velocity) / jnp.where(near > 0.0, near, 1.0))
    fastest = jnp.argmax(speed)
    moves = speed[fastest] > 0.0
    time = -p[fastest] / jnp.where(moves, velocity[fastest], 1.0)
    there = p + velocity * jnp.where(moves, time, 0.0)
    close = jnp.abs(p) <= SAME_INSTANT * near
    side = jnp.where(standing.mode == _modes.ACTIVE, 1.0, -1.0)
    leaves = moves & (side[fastest] * velocity[fastest] > 0.0)
    return jnp.all((close & (jnp.abs(there) <= near)) | slides) & ~leaves


def _ambiguity(
    arrangement, pulls: Pulls, standing: Standing, fired: Fired, at_origin, nowhere, way
) -> Ambiguity:
    slid, everywhere = standing.mode == _modes.SLIDING, jnp.ones(standing.mode.shape, bool)
    boundaries, dim = arrangement.normals.shape
    rests = ~way.escapes & ~way.stands
    unknown = jnp.any(arrangement.two_sided()) & (arrangement.rays.shape[0] == 0)
    loose = (
        (unwatched(boundaries, dim) | unknown) & rests & jnp.any(standing.sign * pulls.jump > 0.0)
    )
    total = jnp.sum(jnp.abs(pulls.plus) + jnp.abs(pulls.low))
    leads = standing.sign * arrangement.rises(pulls) > -ROUNDING * total
    leads = leads & (_pulled(arrangement, pulls) > ROUNDING * total)
    appear = fired.appears & _others_appear(arrangement, fired, leads & standing.watched)
    repels = way.chosen.either & ~at_origin & ~fired.appears
    # At w = 0: the samples that would make the neuron grow.
    grows = (standing.sign * pulls.plus > 0.0) | (standing.sign * pulls.low < 0.0)
    repels = jnp.where(nowhere, grows, repels)
    at = jnp.where(fired.vanishes, slid, repels)
    kind = jnp.where(fired.vanishes, VANISHES, REPELS)
    several = (at_origin & way.several) | appear
    at = jnp.where(several | (at_origin & loose), everywhere, at)
    kind = jnp.where(several, LEAVES, jnp.where(at_origin & loose, RESTS, kind))
    return Ambiguity(at, kind.astype(jnp.int8))


def _pulled(arrangement: Arrangement, pulls: Pulls):
    """The sum of what pulls along the rays, in absolute value: nothing leads out along one on which
    no sample is active."""
    found = jnp.abs(pulls.plus) @ jnp.maximum(arrangement.rays, 0.0).T
    if pulls.minus is None:
        return found
    return found - jnp.abs(pulls.minus) @ jnp.minimum(arrangement.rays, 0.0).T


def _others_appear(arrangement: Arrangement, fired: Fired, leads: Bool[Array, " rays"]):
    """Whether another ray appears at once, in another cone. All edges of one cone appear at once
    where the pull in it vanishes, and it has but one direction of fastest growth."""
    rays = arrangement.rays
    if not rays.shape[0]:
        return jnp.array(False)
    least = RETURNED * jnp.max(jnp.abs(rays), axis=1, keepdims=True)
    active = arrangement.at_samples(rays, rays > least, rays < -least)[1]
    return jnp.any(leads & jnp.any(active != active[fired.ray], axis=1))

"""At a boundary: which pattern comes next.

On the boundaries B that neuron j stands on, alpha_B in [0, 1]^B solves a box complementarity
problem for the velocities z_b = a_j <u_b, D_j(alpha)> of p_jb:

    alpha_b = 1 where z_b > 0,    alpha_b = 0 where z_b < 0,    anything between where z_b = 0,

    z_B = a_j (g_B + G_BB v),     v = alpha_B (F^+ - F^-)_B,

g the pull of the units outside B, and of F^- on B. An attractive unit, a_j (F^+ - F^-)_b < 0, is
pushed back from either side, and may slide. With attractive
units only, this is the minimal-norm element of the Clarke subdifferential: a strictly convex
quadratic program over a box, which principal pivoting with the least-index rule solves in
finitely many pivots (Murty's argument), and in the usual event in one or two. A repulsive unit,
with the other sign, never slides: it is on the side it came from, or crosses.

A unit that has slid until its alpha is 0 or 1 leaves, to the side that this alpha names. Its
velocity is zero in that instant, so nothing but what crossed zero can decide: it is `fixed`, and
the problem is one of the others.

A neuron's pattern enters neither h nor a' (relu(0) = 0), so neurons decide one by one.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._model import _modes
from .._model._arrangement import Arrangement, Pulls
from .._model._shapes import PerBoundary, Scalar
from .._support._indexing import first_true, spread
from ._boundary import Boundary
from ._independent import eliminated, orthonormalised
from ._thresholds import ROUNDING, SAME_FORCE

# The status of a unit in B. They agree with the modes, which is why a mode can be one.
_OFF, _ON, _FREE = _modes.INACTIVE, _modes.ACTIVE, _modes.SLIDING


class Settled(eqx.Module):
    """The neuron's next pattern.

    mode: (boundaries,), slots: (max_sliding,), response: (max_sliding, boundaries): see `Pattern`.
    found: whether the pivoting ended; fits: whether there was room for the sliding units.
    either: the repulsive units that could as well have left to the other side.
    """

    mode: Int[Array, " boundaries"]
    slots: Int[Array, " max_sliding"]
    response: Float[Array, "max_sliding boundaries"]
    found: Bool[Array, ""]
    fits: Bool[Array, ""]
    either: Bool[Array, " boundaries"]

    @classmethod
    def none(cls, mode, max_sliding: int) -> "Settled":
        """Of the shapes of a neuron with these modes."""
        slots, no = jnp.zeros((max_sliding,), jnp.int32), jnp.array(False)
        response = jnp.zeros((max_sliding, mode.shape[0]))
        return cls(mode, slots, response, no, no, jnp.zeros(mode.shape, bool))


class _Local(eqx.Module):
    """The complementarity problem of one neuron, on the places of its boundary."""

    arrangement: Arrangement
    gram: Float[Array, "capacity capacity"]  # G_BB, 0 outside B
    rows: Float[Array, "capacity columns"]  # of G; without columns where no unit may slide
    pull: Float[Array, " capacity"]  # g_B
    effort: Float[Array, " capacity"]  # the sum of absolute values behind g_B
    jump: Float[Array, " capacity"]  # (F^+ - F^-)_B
    weight: Float[Array, " #capacity"]  # by how much an error of r shows in it
    two_sided: Bool[Array, " capacity"]  # something pulls on the negative side, too
    uncertainty: Scalar  # of r
    sign: Scalar  # of a_j
    boundary: Boundary
    outside: Bool[Array, " boundaries"]  # the units outside B that something pulls at
    forces: PerBoundary  # F on them, 0 elsewhere

    @property
    def present(self):
        return self.boundary.index < self.forces.shape[0]

    def solved(self, status):
        """v = alpha (F^+ - F^-) for this status: on the free units the v that makes z zero; and
        their response G_FF^-1 G_FA. In one go: the status asked about is mostly the one found.
        """
        free = status == _FREE
        fixed = jnp.where(status == _ON, self.jump, 0.0)
        index = self.boundary.index
        pulled = (status == _ON) | ((status == _OFF) & self.two_sided)
        pulled = spread(index, pulled, self.outside)[: self.rows.shape[1]]
        right = [(self.pull + self.gram @ fixed)[:, None], jnp.where(pulled, self.rows, 0.0)]
        if self.arrangement.precise:
            normals = self.arrangement.normals.at[index].get(mode="fill", fill_value=0.0)
            found, response = orthonormalised(normals, free, right)
        else:
            found, response = eliminated(self.gram, free, right)
        return jnp.where(free, -found[:, 0], fixed), response

    def velocities(self, v):
        """sign(a) times the velocities z, and the noise that they may carry."""
        z = self.sign * (self.pull + self.gram @ v)
        return z, ROUNDING * (self.effort + jnp.abs(self.gram) @ jnp.abs(v))

    def differ(self, one, other):
        """Whether two v give different forces."""
        difference = one - other
        square = difference @ self.gram @ difference
        total = jnp.sum(jnp.abs(self.forces) * self.arrangement.length)
        total = total + jnp.sum(jnp.abs(self.jump) * jnp.sqrt(jnp.diag(self.gram)))
        return square > (SAME_FORCE * total) ** 2


class _Found(eqx.Module):
    """Where the pivoting has got to: the status; its v, the response of its free units, which
    units have no velocity and which nothing pulls at."""

    status: Int[Array, " capacity"]
    ends: Bool[Array, ""]
    v: Float[Array, " capacity"]
    response: Float[Array, "capacity columns"]
    still: Bool[Array, " capacity"]
    unpulled: Bool[Array, " capacity"]
    count: Int[Array, ""]

    @classmethod
    def none(cls, local: _Local, status) -> "_Found":
        no, response = jnp.zeros(status.shape, bool), jnp.zeros_like(local.rows)
        return cls(status, jnp.array(False), 0.0 * local.pull, response, no, no, jnp.array(0))


def _look(local: _Local, status, count) -> tuple[_Found, Array]:
    """This status; and the one that units which break the conditions should take."""
    v, response = local.solved(status)
    z, noise = local.velocities(v)
    attractive = local.sign * local.jump < 0.0
    rises, falls = z > noise, z < -noise
    # An alpha of a unit that slid before is known to the uncertainty of the residual; but where
    # nothing pulls at its neuron any more, it is 0.
    slid = (local.boundary.before == _FREE) & (noise > 0.0)
    size = jnp.abs(response)
    if local.arrangement.incidence is not None:
        size = size * local.arrangement.weight()[: size.shape[1]]
    of_low = jnp.sum(size, axis=1)
    unsure = jnp.where(slid, local.uncertainty, 0.0)
    # Where F does not jump, nothing holds a unit against the pull of others.
    low = jnp.where(local.jump == 0.0, -jnp.abs(v), v * jnp.sign(local.jump))
    to_off = ((status == _FREE) & (low <= -unsure * of_low)) | (
        (status == _ON) & falls & ~attractive
    )
    high = jnp.abs(local.jump) - low
    to_on = ((status == _FREE) & (high <= -unsure * (local.weight + of_low)) & ~to_off) | (
        (status == _OFF) & rises & ~attractive
    )
    to_free = attractive & (((status == _OFF) & rises) | ((status == _ON) & falls))
    target = jnp.where(to_off, _OFF, jnp.where(to_on, _ON, jnp.where(to_free, _FREE, status)))
    target = jnp.where(local.present & ~local.boundary.fixed, target, status)
    ends = jnp.all(target == status)
    found = _Found(status, ends, v, response, jnp.abs(z) <= noise, noise == 0.0, count)
    return found, target


def _pivot(local: _Local, status) -> _Found:
    """Principal pivoting, least index first, from this status."""
    cap = 8 * status.shape[0] + 16

    def running(carry):
        found, _ = carry
        return ~found.ends & (found.count < cap)

    def step(carry):
        found, status = carry
        found, target = _look(local, status, found.count + 1)
        broken = target != status
        change = broken & (jnp.arange(status.shape[0]) == jnp.argmax(broken))
        return found, jnp.where(change, target, status)

    return jax.lax.while_loop(running, step, (_Found.none(local, status), status))[0]


def _pivot_from(local: _Local, start, opposite, twice) -> tuple[_Found, _Found]:
    """From one status, and from another if that is asked for: in one loop, compiled once."""

    def once(carry):
        again, status, _, last = carry
        found = _pivot(local, status)
        first = jax.tree.map(lambda a, b: jnp.where(again == 0, a, b), found, last)
        return again + 1, opposite, first, found

    blank = _Found.none(local, start)
    begin = (jnp.array(0), start, blank, blank)
    _, _, first, other = jax.lax.while_loop(
        lambda c: (c[0] == 0) | (twice & (c[0] == 1)), once, begin
    )
    return first, other


def settle(
    arrangement: Arrangement,
    pulls: Pulls,
    uncertainty: Scalar,
    sign: Scalar,
    mode: Int[Array, " boundaries"],
    boundary: Boundary,
    max_sliding: int,
) -> Settled:
    """The pattern with which one neuron goes on from the boundaries it stands on.

    Arguments:
        pulls, uncertainty: F, and how far the residual may be from the flow's.
        sign: of a_j.
        mode: the neuron's modes.
        boundary: B, with the status from which the search of each unit begins.
        max_sliding: the room for sliding units.
    """
    local = _local(arrangement, pulls, uncertainty, sign, mode, boundary, max_sliding > 0)
    start = jnp.where(local.present, boundary.status, _OFF)
    # With repulsive units there may be other solutions: a search from their other sides shows.
    repulsive = local.present & (sign * local.jump > 0.0) & ~boundary.fixed
    turned = repulsive & (start != _FREE) & ~boundary.departs
    opposite = jnp.where(turned, _ON - start, start)
    first, other = _pivot_from(local, start, opposite, jnp.any(turned))
    several = first.ends & other.ends & local.differ(first.v, other.v)
    either = repulsive & (other.status != first.status) & several
    index = boundary.index
    modes = _name(local, first)
    slots, response, fits = _placed(local, first, max_sliding)
    return Settled(
        spread(index, modes, mode),
        slots,
        response,
        first.ends,
        fits & boundary.complete,
        spread(index, either, jnp.zeros(mode.shape, bool)),
    )


def _local(arrangement, pulls: Pulls, uncertainty, sign, mode, boundary: Boundary, slides):
    index, two_sided = boundary.index, arrangement.two_sided()

    def here(values):
        return values.at[index].get(mode="fill", fill_value=0)

    pulled = (mode == _modes.ACTIVE) | ((mode == _modes.INACTIVE) & two_sided)
    outside = pulled & ~jnp.any(index[:, None] == jnp.arange(len(mode), dtype=index.dtype), axis=0)
    forces = jnp.where(outside, pulls.on(mode), 0.0)
    rows = here(arrangement.gram)
    gram = rows.at[:, index].get(mode="fill", fill_value=0.0)
    pull, effort = rows @ forces, jnp.abs(rows) @ jnp.abs(forces)
    if pulls.minus is not None:
        low = here(pulls.minus)
        pull, effort = pull + gram @ low, effort + jnp.abs(gram) @ jnp.abs(low)
    return _Local(
        arrangement=arrangement,
        gram=gram,
        rows=rows if slides else rows[:, :0],
        pull=pull,
        effort=effort,
        jump=here(pulls.jump),
        weight=here(arrangement.weight()),
        two_sided=here(two_sided),
        uncertainty=uncertainty,
        sign=sign,
        boundary=boundary,
        outside=outside,
        forces=forces,
    )


def _name(local: _Local, found: _Found):
    """The modes for the statuses found."""
    off = (found.status == _OFF) & local.present
    # alpha = 0 and no velocity at all: at rest for good. A unit that slid merely leaves slowly,
    # unless nothing pulls at its neuron any more.
    slid = local.boundary.before == _FREE
    rests = off & found.still & (~slid | found.unpulled) & ~local.two_sided
    return jnp.where(rests, _modes.RESTING, found.status)


def _placed(local: _Local, found: _Found, max_sliding: int):
    """slots and response = G_FF^-1 G_FA of the sliding units F, moved into the slots."""
    boundaries = local.forces.shape[0]
    free = (found.status == _FREE) & local.present
    if max_sliding == 0:
        slots = jnp.zeros((0,), local.boundary.index.dtype)
        return slots, jnp.zeros((0, boundaries)), ~jnp.any(free)
    chosen = first_true(free, max_sliding)
    slots = local.boundary.index.at[chosen].get(mode="fill", fill_value=boundaries)
    response = found.response.at[chosen].get(mode="fill", fill_value=0.0)
    return slots, response, jnp.sum(free) <= max_sliding

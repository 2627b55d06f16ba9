"""At a boundary: which pattern comes next.

On the boundaries B that neuron j stands on, alpha_B in [0, 1]^B solves a box complementarity
problem for the velocities z_k = a_j <x_k, D_j(alpha)> of p_jk:

    alpha_k = 1 where z_k > 0,    alpha_k = 0 where z_k < 0,    anything between where z_k = 0,

    z_B = a_j (g_B + G_BB u),     u = alpha_B r_B,     g = the pull of the active units outside B.

An attractive unit (a_j r_k < 0) is pushed back from either side, and may slide. With attractive
units only, this is the minimal-norm element of the Clarke subdifferential: a strictly convex
quadratic program over a box, which principal pivoting with the least-index rule solves in
finitely many pivots (Murty's argument), and in the usual event in one or two. A repulsive unit
(a_j r_k > 0) never slides: it is on the side it came from, or crosses.

A neuron's pattern enters neither h nor a' (relu(0) = 0), so neurons decide one by one.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from . import _modes
from ._branch import run_if
from ._shapes import Gram, PerSample, Scalar

# The status of a unit in B. They agree with the modes, which is why a mode can be one.
_OFF, _ON, _FREE = _modes.INACTIVE, _modes.ACTIVE, _modes.SLIDING

# An alpha, or a velocity z, is compared with zero up to this many times the sum of the absolute
# values it is made of: rounding, and nothing physical, decides below.
_ROUNDING = 1e-14
# A unit leaves with velocity zero, up to the accuracy with which that instant was located.
_LOCATION = 1e-9
# Dependent inputs make G_FF singular; this shift splits the pull between them evenly.
_REGULARISATION = 1e-14


class Boundary(eqx.Module):
    """The boundaries one neuron stands on, gathered into `capacity` places.

    samples: the samples of B, padded with n.
    before: their modes on arrival.
    status: from which the search begins: 0 (alpha = 0), 1 (alpha = 1) or 2 (sliding). A unit
        whose alpha has reached 0 or 1 slid before and begins there: it leaves.
    complete: whether all of B found a place.
    """

    samples: Int[Array, " capacity"]
    before: Int[Array, " capacity"]
    status: Int[Array, " capacity"]
    complete: Bool[Array, ""]

    @classmethod
    def gather(cls, on, mode, status, capacity: int) -> "Boundary":
        """From arrays over all samples: membership in B, modes and statuses."""
        (samples,) = jnp.nonzero(on, size=capacity, fill_value=on.shape[0])

        def take(array):
            return array.at[samples].get(mode="fill", fill_value=_OFF)

        return cls(samples, take(mode), take(status), jnp.sum(on) <= capacity)

    def leaves(self) -> Bool[Array, " capacity"]:
        return (self.before == _FREE) & (self.status != _FREE)


class Settled(eqx.Module):
    """The neuron's next pattern.

    modes: of the places of the boundary.
    mode: (samples,), slots: (max_sliding,), response: (max_sliding, samples): see `Pattern`.
    found: whether the pivoting ended; fits: whether there was room for the sliding units;
    ambiguous: how many repulsive units could as well have left to the other side.
    """

    modes: Int[Array, " capacity"]
    mode: Int[Array, " samples"]
    slots: Int[Array, " max_sliding"]
    response: Float[Array, "max_sliding samples"]
    found: Bool[Array, ""]
    fits: Bool[Array, ""]
    distinct: Bool[Array, ""]
    ambiguous: Int[Array, ""]


class _Local(eqx.Module):
    """The complementarity problem of one neuron, on the places of its boundary."""

    gram: Float[Array, "capacity capacity"]  # G_BB, 0 outside B
    pull: Float[Array, " capacity"]  # g_B
    effort: Float[Array, " capacity"]  # the sum of absolute values behind g_B
    residual: Float[Array, " capacity"]  # r_B
    sign: Scalar  # of a_j
    present: Bool[Array, " capacity"]
    leaves: Bool[Array, " capacity"]
    places: Int[Array, " capacity"]  # the samples of B
    outside: Bool[Array, " samples"]  # the active units outside B
    rows: Float[Array, "capacity samples"] | None  # of G, if units may slide at all

    def solved(self, status):
        """u = alpha r for this status: on the free units the u that makes z zero; and G_FF^-1 G_FA.

        In one elimination: the status asked about is mostly the one that is found.
        """
        fixed = jnp.where(status == _ON, self.residual, 0.0)
        free = status == _FREE
        right = [(self.pull + self.gram @ fixed)[:, None]]
        if self.rows is not None:
            active = self.outside.at[self.places].set(status == _ON, mode="drop")
            right.append(jnp.where(active, self.rows, 0.0))
        found, *response = self._solved_free(free, right)
        return jnp.where(free, -found[:, 0], fixed), response

    def _solved_free(self, free, matrices):
        """G_FF^-1 applied to the rows F of each matrix; the other rows become 0."""
        pair = free[:, None] & free[None, :]
        diagonal = jnp.where(free, _REGULARISATION * jnp.diag(self.gram), 1.0)
        system = jnp.where(pair, self.gram, 0.0) + jnp.diag(diagonal)
        return _eliminated(system, [jnp.where(free[:, None], m, 0.0) for m in matrices], free)

    def velocities(self, u):
        """sign(a) times the velocities z, and the noise that they may carry."""
        z = self.sign * (self.pull + self.gram @ u)
        effort = self.effort + jnp.abs(self.gram) @ jnp.abs(u)
        return z, jnp.where(self.leaves, _LOCATION, _ROUNDING) * effort


def _eliminated(system, right, free):
    """system^-1 applied to each of `right` by Gauss-Jordan elimination, which a positive definite
    system allows without pivoting; only the rows `free` differ from the identity.

    (They are a few of many places: as fast as LAPACK on all.)
    """

    def eliminate(carry):
        (system, *right), left = carry
        i = jnp.argmax(left)
        pivot, column = system[i, i], system[:, i][:, None]

        def without(matrix):
            row = matrix[i] / pivot
            return (matrix - column * row).at[i].set(row)

        return [without(matrix) for matrix in (system, *right)], left.at[i].set(False)

    done, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]), eliminate, ([system, *right], free)
    )
    return done[1:]


def _violations(local: _Local, status):
    """Which units break the complementarity conditions, and the status each should take; which have
    no velocity, and which nothing pulls at; and the response of the free units."""
    u, response = local.solved(status)
    z, noise = local.velocities(u)
    attractive = local.sign * local.residual < 0.0
    rises, falls = z > noise, z < -noise
    to_off = ((status == _FREE) & (u * jnp.sign(local.residual) <= 0.0)) | (
        (status == _ON) & falls & ~attractive
    )
    to_on = ((status == _FREE) & (jnp.abs(u) >= jnp.abs(local.residual)) & ~to_off) | (
        (status == _OFF) & rises & ~attractive
    )
    to_free = attractive & (((status == _OFF) & rises) | ((status == _ON) & falls))
    target = jnp.where(to_off, _OFF, jnp.where(to_on, _ON, jnp.where(to_free, _FREE, status)))
    still = jnp.abs(z) <= noise, noise == 0.0
    return (target != status) & local.present, target, still, response


def _pivot(local: _Local, status):
    """Principal pivoting, least index first, from this status.

    The status found, whether it is one, which units have no velocity there, or no pull, and the
    response of the free units.
    """
    cap = 8 * status.shape[0] + 16

    def running(carry):
        _, done, *_, count = carry
        return ~done & (count < cap)

    def step(carry):
        status, *_, count = carry
        broken, target, still, response = _violations(local, status)
        first = jnp.argmax(broken)
        change = broken & (jnp.arange(status.shape[0]) == first)
        status = jnp.where(change, target, status)
        return status, ~jnp.any(broken), still, response, count + 1

    nothing = jnp.zeros(status.shape, bool)
    response = [] if local.rows is None else [jnp.zeros_like(local.rows)]
    begin = (status, jnp.array(False), (nothing, nothing), response, 0)
    return jax.lax.while_loop(running, step, begin)[:4]


def settle(
    gram: Gram,
    residual: PerSample,
    sign: Scalar,
    mode: Int[Array, " samples"],
    boundary: Boundary,
    max_sliding: int,
) -> Settled:
    """The pattern with which one neuron goes on from the boundaries it stands on.

    Arguments:
        gram, residual: of the whole data.
        sign: of a_j.
        mode: the neuron's modes, (samples,).
        boundary: B, with the status from which the search of each unit begins.
        max_sliding: the room for sliding units.
    """
    samples = gram.shape[0]
    places, present = boundary.samples, boundary.samples < samples
    outside = (mode == _modes.ACTIVE).at[places].set(False, mode="drop")
    active = jnp.where(outside, residual, 0.0)
    rows = gram.at[places].get(mode="fill", fill_value=0.0)

    def take(array):
        return array.at[places].get(mode="fill", fill_value=0.0)

    local = _Local(
        gram=rows.at[:, places].get(mode="fill", fill_value=0.0),
        pull=take(gram @ active),
        effort=take(jnp.abs(gram) @ jnp.abs(active)),
        residual=take(residual),
        sign=sign,
        present=present,
        leaves=boundary.leaves(),
        places=places,
        outside=outside,
        rows=rows if max_sliding > 0 else None,
    )
    # With repulsive units there may be other solutions: a search from their other sides shows.
    start = jnp.where(present, boundary.status, _OFF)
    repulsive = present & (sign * local.residual > 0.0)
    turned = repulsive & (start != _FREE)
    first = status, found, still, response = _pivot(local, start)
    opposite = jnp.where(turned, _ON - start, start)
    other, ends, *_ = run_if(jnp.any(turned), lambda _: _pivot(local, opposite), first)
    ambiguous = jnp.where(found & ends, jnp.sum(repulsive & (other != status)), 0)
    modes = _name(local, boundary, status, still)
    mode = mode.at[places].set(modes.astype(mode.dtype), mode="drop")
    slots, response, fits = _placed(local, status, response, max_sliding)
    fits = fits & boundary.complete
    distinct = ~jnp.any(_conflicts(local))
    return Settled(modes, mode, slots, response, found, fits, distinct, ambiguous)


def _conflicts(local: _Local):
    """Pairs of one attractive and one repulsive unit on one boundary.

    They switch together, so that what matters is the sum of their residuals: the conditions of
    the complementarity problem, which let each decide alone, do not describe them.
    """
    length = jnp.sqrt(jnp.diag(local.gram))
    parallel = jnp.abs(local.gram) >= (1.0 - 1e-14) * length[:, None] * length[None, :]
    opposed = local.residual[:, None] * local.residual[None, :] < 0.0
    return parallel & opposed & local.present[:, None] & local.present[None, :]


def _name(local: _Local, boundary: Boundary, status, still):
    """The modes for the statuses found."""
    off = (status == _OFF) & local.present
    # alpha = 0 and no velocity at all: at rest for good. A unit that slid merely leaves slowly,
    # unless nothing pulls at its neuron any more.
    without_velocity, without_pull = still
    rests = off & without_velocity & ((boundary.before != _FREE) | without_pull)
    return jnp.where(rests, _modes.RESTING, status)


def _placed(local: _Local, status, response, max_sliding: int):
    """slots and response = G_FF^-1 G_FA of the sliding units F, moved into the slots."""
    samples = local.outside.shape[0]
    free = (status == _FREE) & local.present
    if max_sliding == 0:
        return jnp.zeros((0,), local.places.dtype), jnp.zeros((0, samples)), ~jnp.any(free)
    (chosen,) = jnp.nonzero(free, size=max_sliding, fill_value=free.shape[0])
    slots = local.places.at[chosen].get(mode="fill", fill_value=samples)
    moved = response[0].at[chosen].get(mode="fill", fill_value=0.0)
    return slots, moved, jnp.sum(free) <= max_sliding

"""Exits from sliding: when alpha, which the residual alone determines, leaves (0, 1). And when a
neuron that rests at w = 0 leaves it, which the residual alone determines too."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Pattern
from .._model._arrangement import Arrangement, Pulls
from .._model._shapes import PerNeuron
from ._propagator import legendre, series

_ROOT_FOUND = 1e-13  # in units of the step; a step of Newton's method makes it exact


class SlideExit(eqx.Module):
    time: PerNeuron  # where the propagation ends, at the latest
    fires: Bool[Array, " neurons"]
    index: Int[Array, " neurons"]  # of the guard that does
    slope: PerNeuron  # d/ds of that guard, there; 0 where none does


class Guards(eqx.Module):
    """The parts alpha and 1 - alpha of F^+ - F^- on all slots: while a unit slides, both are of the
    sign of -a. And n E(u) along the rays u: while a neuron stays at w = 0, those it waits for are,
    too.

    They change only when the pattern does. values: at some points, or their Legendre coefficients;
    amplification: by how much an error of the residual shows in each, infinite where a slot is
    empty or a ray is not waited for.
    """

    values: Float[Array, "parts neurons guards"]
    amplification: Float[Array, "neurons guards"]

    @classmethod
    def of(cls, arrangement: Arrangement, pattern: Pattern, fine: Pulls) -> "Guards":
        """fine: F at some points, or its Legendre coefficients, (parts, one, boundaries)."""

        def at(pulls: Pulls):  # the same for all neurons or some for each
            pulls = pulls.map(lambda pull: pull[0] if pull.shape[0] == 1 else pull)
            return pattern.sliding_guards(pulls)

        values = list(jax.vmap(at)(fine))
        empty = pattern.slots >= arrangement.boundaries
        of_slots = [jnp.where(empty, jnp.inf, part) for part in pattern.amplification(arrangement)]
        if pattern.watched.shape[1]:
            rises = arrangement.rises(fine)
            values.append(jnp.broadcast_to(rises, (*values[0].shape[:2], rises.shape[2])))
        of_rays = jnp.where(pattern.watched, 1.0, jnp.inf)
        return cls(jnp.concatenate(values, axis=2), jnp.concatenate([*of_slots, of_rays], axis=1))

    def fired(self, values, side: PerNeuron, noise) -> Bool[Array, "... neurons guards"]:
        """Which have fired, from their values at some time; noise: of the residual, (..., 1); side:
        the sign of the output."""
        known_to = jnp.where(jnp.isinf(self.amplification), jnp.inf, noise * self.amplification)
        return -side[:, None] * values < -known_to


def slide_exit(generator, moving, noise: PerNeuron) -> SlideExit:
    """The first guard of each neuron that fires before the target."""
    neurons, width = moving.pattern.slots.shape
    rows, index = jnp.arange(neurons), jnp.zeros((neurons,), jnp.int32)
    none = SlideExit(moving.target, jnp.zeros((neurons,), bool), index, jnp.zeros((neurons,)))
    if width + moving.pattern.watched.shape[1] == 0:
        return none

    guards = moving.guards

    def at(s):
        return series(s[:, None], guards.values)

    side = sign(generator, moving)
    toward = -side
    begin = jnp.maximum(toward[:, None] * at(moving.time), 0.0)

    def fired(time):
        return guards.fired(at(time), side, noise[:, None])

    def earlier(carry):
        # Of several that have fired by then it is not certain which is the first: one is taken,
        # and looked back from.
        found, fired_now, count = carry
        some = jnp.any(fired_now, axis=1)
        depth = toward[:, None] * at(found.time)
        fraction = begin / jnp.where(fired_now, begin - depth, 1.0)
        first = jnp.argmin(jnp.where(fired_now, fraction, jnp.inf), axis=1).astype(jnp.int32)
        guard = toward * guards.values[:, rows, first]
        ends = (moving.time, begin[rows, first]), (found.time, depth[rows, first])
        time, slope = _falling_root(guard, *ends, some)
        here = SlideExit(time, some, first, toward * slope)
        found = jax.tree.map(lambda new, old: jnp.where(some, new, old), here, found)
        return found, fired(found.time), count + 1

    def running(carry):
        _, fired_now, count = carry
        return jnp.any(fired_now) & (count <= guards.values.shape[2])

    return jax.lax.while_loop(running, earlier, (none, fired(moving.target), 0))[0]


def sign(generator, moving) -> PerNeuron:
    """Of the output; where that is zero, of where it goes."""
    output = moving.reduced.output
    slope = moving.basis(generator).along(legendre(moving.time), moving.reduced.overlap)
    return jnp.sign(jnp.where(output == 0.0, slope, output))


def _falling_root(coefficients, begin, end, wanted) -> tuple[PerNeuron, PerNeuron]:
    """Where a Legendre series falls through zero, and its slope there.

    begin, end: (s, the series), which has fallen below zero at the end. By regula falsi, in which
    the value at an end that stays is halved (Illinois).
    """

    def at(s):
        return series(s, coefficients)

    def step(carry):
        low, high, above, below, last, before, count, _ = carry
        share = above / jnp.where(above > below, above - below, 1.0)
        middle = low + (high - low) * jnp.clip(share, 0.0, 1.0)
        value = at(middle)
        inside = value > 0.0
        again = jnp.where(inside, 1, -1)
        above, below = (
            jnp.where(inside, value, jnp.where(last == -1, above / 2.0, above)),
            jnp.where(inside, jnp.where(last == 1, below / 2.0, below), value),
        )
        low, high = jnp.where(inside, middle, low), jnp.where(inside, high, middle)
        near = (high - low <= _ROOT_FOUND) | (jnp.abs(middle - before) <= _ROOT_FOUND)
        going = jnp.any(wanted & ~near & (value != 0.0))
        return low, high, above, below, again, middle, count + 1, going

    def running(carry):
        *_, count, going = carry
        return going & (count < 60)

    (low, above), (high, below) = begin, end
    carry = (low, high, above, below, jnp.zeros(low.shape, int), low, 0, jnp.any(wanted))
    root = jax.lax.while_loop(running, step, carry)[5]  # the last middle
    # For the derivative, a Newton step: of a root, it has the right one; and of the time at which
    # something is found to have happened that did so a little earlier, that of the root.
    root = jax.lax.stop_gradient(root)
    value, slope = jax.jvp(at, (root,), (jnp.ones_like(root),))
    slope = jax.lax.stop_gradient(slope)
    step_back = value / jnp.where(slope < 0.0, slope, -jnp.inf)
    near = jnp.abs(step_back) < 1e-9
    return root - jnp.where(near, step_back, step_back - jax.lax.stop_gradient(step_back)), slope

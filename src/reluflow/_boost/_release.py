"""When a unit ceases to slide: its alpha, a matter of the residual alone, leaves (0, 1)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._field import Pattern
from .._shapes import PerNeuron
from ._path import legendre, series

_ROOT_FOUND = 1e-13  # in units of the step; a step of Newton's method makes it exact


class Release(eqx.Module):
    time: PerNeuron  # where the hop ends, at the latest
    fires: Bool[Array, " neurons"]
    slot: Int[Array, " neurons"]
    high: Bool[Array, " neurons"]


def guards(
    pattern: Pattern, fine: Float[Array, "parts one samples"]
) -> Float[Array, "parts neurons guards"]:
    """alpha r and (1 - alpha) r of all slots: while a unit slides, both are of the sign of -a.

    They change only when the pattern does. fine: r at some points, or its Legendre coefficients,
    of which the guards then are polynomials too.
    """
    response, slots = pattern.response, pattern.slots
    if fine.shape[1] == 1:
        held = -jnp.einsum("jsk,pk->pjs", response, fine[:, 0])
    else:
        held = -jnp.einsum("jsk,pjk->pjs", response, fine)
    fine = jnp.broadcast_to(fine, (fine.shape[0], slots.shape[0], fine.shape[2]))
    rows = jnp.arange(slots.shape[0])[:, None]
    whole = fine.at[:, rows, slots].get(mode="fill", fill_value=0.0)
    return jnp.concatenate([held, whole - held], axis=2)


def leave(course, walk, values, noise) -> Bool[Array, "... neurons guards"]:
    """Which slots have left (0, 1), from the guards at some time; noise: of shape (..., 1)."""
    empty = walk.pattern.slots >= course.samples
    signed = -_sign(course, walk)[:, None] * values
    return (signed < -noise) & ~jnp.concatenate([empty, empty], axis=1)


def release(course, walk, noise: PerNeuron) -> Release:
    """The first slot of each neuron whose alpha leaves (0, 1) before the target."""
    neurons, width = walk.pattern.slots.shape
    if width == 0:
        nothing = jnp.zeros((neurons,), bool)
        return Release(walk.target, nothing, jnp.zeros((neurons,), jnp.int32), nothing)

    def at(s):
        return series(s[:, None], walk.guards)

    toward = -_sign(course, walk)
    last = at(walk.target)
    fired = leave(course, walk, last, noise[:, None])
    fires = jnp.any(fired, axis=1)
    height, depth = jnp.maximum(toward[:, None] * at(walk.time), 0.0), toward[:, None] * last
    fraction = height / jnp.where(fired, height - depth, 1.0)
    index = jnp.argmin(jnp.where(fired, fraction, jnp.inf), axis=1)
    guard = toward * walk.guards[:, jnp.arange(neurons), index]
    time = _root(guard, walk.time, walk.target, fires)
    time = jnp.where(fires, time, walk.target)
    return Release(time, fires, index % width, index >= width)


def _sign(course, walk) -> PerNeuron:
    """Of the output; where that is zero, of where it goes."""
    output = walk.reduced.output
    slope = walk.frame(course).along(legendre(walk.time), walk.reduced.overlap)
    return jnp.sign(jnp.where(output == 0.0, slope, output))


def _root(coefficients, low, high, wanted) -> PerNeuron:
    """Where a Legendre series falls through zero in [low, high].

    By regula falsi, in which the value at an end that stays is halved (Illinois).
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

    begin = (low, high, jnp.maximum(at(low), 0.0), at(high), jnp.zeros(low.shape, int), low, 0)
    low, high, *_ = jax.lax.while_loop(running, step, (*begin, jnp.any(wanted)))
    # For the derivative, a Newton step: of a root, it has the right one.
    root = jax.lax.stop_gradient(jnp.where(at(low) < -at(high), low, high))
    value, slope = jax.jvp(at, (root,), (jnp.ones_like(root),))
    slope = jax.lax.stop_gradient(slope)
    step_back = value / jnp.where(slope < 0.0, slope, -jnp.inf)
    polished = root - step_back
    return jnp.where(jnp.abs(step_back) < 1e-9, polished, root)

"""When a unit ceases to slide: its alpha, a matter of the residual alone, leaves (0, 1)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._shapes import PerNeuron
from ._collocation import POINTS
from ._path import lagrange, lagrange_of_points
from ._small import total
from ._walk import Course, Walk


class Release(eqx.Module):
    time: PerNeuron  # where the hop ends, at the latest
    fires: Bool[Array, " neurons"]
    slot: Int[Array, " neurons"]
    high: Bool[Array, " neurons"]


def release(course: Course, walk: Walk, noise: PerNeuron) -> Release:
    """The first slot of each neuron whose alpha leaves (0, 1) before the target."""
    neurons, width = walk.pattern.slots.shape
    if width == 0:
        nothing = jnp.zeros((neurons,), bool)
        return Release(walk.target, nothing, jnp.zeros((neurons,), jnp.int32), nothing)
    first = _slot_guards(course, walk, walk.time)
    last = _slot_guards(course, walk, walk.target)
    fired = last < -noise[:, None]
    fires = jnp.any(fired, axis=1)
    fraction = jnp.maximum(first, 0.0) / jnp.where(fired, jnp.maximum(first, 0.0) - last, 1.0)
    index = jnp.argmin(jnp.where(fired, fraction, jnp.inf), axis=1)
    slot, high = index % width, index >= width
    rows = jnp.arange(neurons)
    response = walk.pattern.response[rows, slot]
    unit = jnp.minimum(walk.pattern.slots[rows, slot], course.samples - 1)
    held = -jnp.sum(response * course.fine, axis=2)
    fine = jnp.broadcast_to(course.fine, (len(POINTS), *response.shape))
    whole = fine[:, rows, unit]
    toward = -_sign(course, walk)
    points = toward * jnp.where(high, whole - held, held)
    time = _polynomial_root(points, walk.time, walk.target, fires)
    return Release(jnp.where(fires, time, walk.target), fires, slot, high)


def _slot_guards(course: Course, walk: Walk, s) -> Float[Array, "neurons guards"]:
    """alpha |r| and (1 - alpha) |r| of the slots at a time of each neuron; 1 where empty."""
    return _guards_of(course, walk, course.residual_at(s))


def guards_at_points(course: Course, walk: Walk) -> Float[Array, "points neurons guards"]:
    """The same at the points of the step, on the pattern and with the sign that it has now."""
    if walk.pattern.slots.shape[1] == 0:
        return jnp.ones((len(POINTS), walk.time.shape[0], 1))
    return jax.vmap(lambda residual: _guards_of(course, walk, residual))(course.fine)


def _guards_of(course: Course, walk: Walk, residual) -> Float[Array, "neurons guards"]:
    """From a residual, of each neuron or of all."""
    slots = walk.pattern.slots
    residual = jnp.broadcast_to(residual, (slots.shape[0], course.samples))
    toward = -_sign(course, walk)[:, None]
    low = toward * -jnp.einsum("jsk,jk->js", walk.pattern.response, residual)
    rows = jnp.arange(slots.shape[0])[:, None]
    whole = toward * residual.at[rows, slots].get(mode="fill", fill_value=0.0)
    guards = jnp.concatenate([low, whole - low], axis=1)
    empty = slots >= residual.shape[1]
    return jnp.where(jnp.concatenate([empty, empty], axis=1), 1.0, guards)


def _sign(course: Course, walk: Walk) -> PerNeuron:
    """Of the output; where that is zero, of where it goes."""
    output = walk.reduced.output
    slope = walk.frame(course).along(lagrange(walk.time), walk.reduced.overlap)
    return jnp.sign(jnp.where(output == 0.0, slope, output))


def _polynomial_root(points, low, high, wanted) -> PerNeuron:
    """Where the polynomial through these values falls through zero in [low, high]."""

    def step(carry):
        low, high, count = carry
        middle = (low + high) / 2.0
        above = total(lagrange_of_points(middle) * points, 0) > 0.0
        return jnp.where(above, middle, low), jnp.where(above, high, middle), count + 1

    def running(carry):
        low, high, count = carry
        return jnp.any(wanted & (high - low > 1e-15)) & (count < 60)

    low, high, _ = jax.lax.while_loop(running, step, (low, high, 0))
    # For the derivative, a Newton step: of a root, it has the right one.
    root = jax.lax.stop_gradient((low + high) / 2.0)
    basis, slope = jax.jvp(lagrange_of_points, (root,), (jnp.ones_like(root),))
    slope = jax.lax.stop_gradient(total(slope * points, 0))
    step_back = total(basis * points, 0) / jnp.where(slope < 0.0, slope, -jnp.inf)
    polished = root - step_back
    return jnp.where(jnp.abs(step_back) < 1e-9, polished, root)

"""A sweep: all neurons through one step under a given residual, and the residual they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _modes
from .._branch import run_if
from .._field import Pattern, Problem
from .._shapes import PerNeuron, PerSample, Scalar, Units
from .._solution import RESULTS
from ._collocation import NUM_NODES, POINTS
from ._flight import fly, land
from ._frame import by_samples, node_frame, overlaps
from ._hop import advance
from ._neurons import Start
from ._path import Reduced, weight_of
from ._walk import Course, StepEvents, Walk

_INTERVALS = len(POINTS) - 1


class Here(eqx.Module):
    """What the predictions and the kernel depend on: neurons where they are at some time."""

    weight: PerNeuron
    output: PerNeuron
    preactivation: Units


class Swept(eqx.Module):
    """residual: y - h at all points after the first, shape (points - 1, samples);
    kernels: at the nodes, (nodes, samples, samples); end: the neurons at the end."""

    residual: Float[Array, "points samples"]
    kernels: Float[Array, "nodes samples samples"]
    end: Walk


def depart(course: Course, start: Start, places: int) -> Walk:
    pattern = start.pattern
    overlap = overlaps(course, pattern, start.preactivation)
    zero = jnp.zeros_like(start.output)
    return Walk(
        index=jnp.arange(zero.shape[0], dtype=jnp.int32),
        time=zero,
        target=zero + 1.0,
        reduced=Reduced(start.output, overlap, start.balance),
        preactivation=start.preactivation,
        combination=jnp.zeros_like(start.preactivation),
        kept=zero + 1.0,
        growth=zero,
        exponent=jnp.zeros(zero.shape, jnp.int32),
        pattern=pattern,
        armed=start.armed,
        pending=start.pending,
        nodes=None if by_samples(course) else node_frame(course, pattern),
        events=StepEvents.empty(places),
        hops=jnp.array(0),
        ambiguous=jnp.array(0),
        result=RESULTS.successful,
    )


def max_hops(problem: Problem, start: Start) -> int:
    """Between two points: far more than a neuron has boundaries."""
    return 16 * problem.labels.shape[0] + 4 * start.output.shape[0] + 64


def sweep(
    course: Course, start: Start, noise: Scalar, places: int, wants_kernels: Bool[Array, ""]
) -> Swept:
    """Takes the neurons through the step: all together those that meet nothing, and the others a
    few at a time, each with its own events."""
    problem = course.problem
    walk = depart(course, start, places)
    flight = fly(course, walk, noise)
    meets = flight.safe < _INTERVALS
    here = Here(
        weight_of(start.log_scale + flight.growth()), flight.moves.end.output, flight.preactivation
    )
    calm = eqx.tree_at(lambda h: h.weight, here, jnp.where(meets, 0.0, here.weight))
    added, kernels = _given(problem, walk.pattern, calm, wants_kernels)
    residuals = problem.labels - added
    walk = land(course, walk, flight)
    limit = max_hops(problem, start)

    def some(carry):
        meets, walk, residuals, kernels = carry
        (chosen,) = jnp.nonzero(meets, size=_few(meets.shape[0]), fill_value=meets.shape[0])
        few, added, theirs = _hopped(
            course, walk, flight.safe, here, chosen, noise, limit, wants_kernels
        )
        meets = meets.at[chosen].set(False, mode="drop")
        return meets, walk.with_rows(chosen, few), residuals - added, kernels + theirs

    def running(carry):
        meets, walk, *_ = carry
        return jnp.any(meets) & (walk.result == RESULTS.successful)

    carry = (meets, walk, residuals, kernels)
    _, end, residuals, kernels = jax.lax.while_loop(running, some, carry)
    return Swept(residuals, kernels, end)


def _few(neurons: int) -> int:
    return min(neurons, max(16, neurons // 4))


def _hopped(course: Course, walk: Walk, safe, here: Here, chosen, noise, max_hops, wants_kernels):
    """These neurons from point to point, and what they give to h and to the kernels there."""
    problem, neurons = course.problem, safe.shape[0]
    present, at = chosen < neurons, jnp.minimum(chosen, neurons - 1)
    course = eqx.tree_at(lambda c: c.log_scale, course, course.log_scale[at])
    few = walk.rows(at)
    idle = (jnp.where(present, few.time, 1.0), few.pending & present)
    few = eqx.tree_at(lambda w: (w.time, w.pending), few, idle)
    safe = jnp.where(present, safe[at], _INTERVALS)
    flown = jax.tree.map(lambda leaf: leaf[:, at], here)

    def interval(carry):
        index, few, added, kernels = carry
        few = advance(course, few, jnp.asarray(POINTS)[index + 1], noise, max_hops)
        scale = weight_of(course.log_scale + few.total_growth())
        hopped = Here(scale, few.reduced.output, few.preactivation)
        now = _either(index < safe, jax.tree.map(lambda leaf: leaf[index], flown), hopped)
        now = eqx.tree_at(lambda h: h.weight, now, jnp.where(present, now.weight, 0.0))
        added = added.at[index].set(predictions(few.pattern.mode, now))
        kernels = run_if(
            wants_kernels & (index % 2 == 0),
            lambda ks: ks.at[index // 2].set(kernel(problem, few.pattern, now)),
            kernels,
        )
        return index + 1, few, added, kernels

    # Before the first of these intervals, they give what the flight tells.
    before = jnp.arange(_INTERVALS)[:, None] < jnp.min(safe)
    flew = eqx.tree_at(lambda h: h.weight, flown, jnp.where(before & present, flown.weight, 0.0))
    added, kernels = _given(problem, few.pattern, flew, wants_kernels)
    carry = (jnp.min(safe), few, added, kernels)
    _, few, added, kernels = jax.lax.while_loop(lambda c: c[0] < _INTERVALS, interval, carry)
    return few, added, kernels


def _given(problem: Problem, pattern: Pattern, here: Here, wants_kernels):
    """What neurons on one pattern give to h at all points, and to the kernels at the nodes."""
    added = jax.vmap(lambda h: predictions(pattern.mode, h))(here)
    nothing = jnp.zeros((NUM_NODES, *problem.gram.shape))

    def kernels_of(_):
        at_nodes = jax.tree.map(lambda leaf: leaf[::2], here)
        return jax.vmap(lambda h: kernel(problem, pattern, h))(at_nodes)

    return added, run_if(wants_kernels, kernels_of, nothing)


def _either(first, a: Here, b: Here) -> Here:
    return jax.tree.map(lambda a, b: jnp.where(first.reshape(-1, *(1,) * (a.ndim - 1)), a, b), a, b)


def predictions(mode, here: Here) -> PerSample:
    active = jnp.where(mode == _modes.ACTIVE, here.preactivation, 0.0)
    return (here.weight * here.output) @ active


def kernel(problem: Problem, pattern: Pattern, here: Here) -> Float[Array, "samples samples"]:
    """The tangent kernel K of r' = -K r, with each neuron's D projected where it slides:

    K_kl = 1/n sum_j weight_j alpha_jk alpha_jl (a_j^2 <x_k, P_j x_l> + p_jk p_jl).
    """
    active = pattern.mode == _modes.ACTIVE
    mask = active.astype(jnp.float64)
    outer = here.weight * here.output**2
    p = jnp.where(active, here.preactivation, 0.0)
    matrix = (mask.T @ (outer[:, None] * mask)) * problem.gram + p.T @ (here.weight[:, None] * p)
    slots, response = pattern.slots, pattern.response
    if slots.shape[1] > 0:
        rows = problem.gram.at[slots].get(mode="fill", fill_value=0.0) * mask[:, None, :]
        flat = rows.reshape(-1, rows.shape[2])
        scaled = (outer[:, None, None] * response).reshape(-1, rows.shape[2])
        matrix = matrix - flat.T @ scaled
    return matrix / problem.labels.shape[0]

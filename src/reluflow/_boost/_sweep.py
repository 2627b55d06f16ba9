"""A sweep: all neurons through one step under a given residual, and the residual they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _modes
from .._field import Problem
from .._shapes import PerNeuron, PerSample, Scalar
from .._solution import RESULTS
from ._collocation import POINTS
from ._hop import advance
from ._neurons import Start
from ._path import Reduced
from ._walk import LARGEST, Course, StepEvents, Walk, forces


class Swept(eqx.Module):
    """residual: y - h at all points after the first, shape (points - 1, samples); kernels: at the nodes,
    (nodes, samples, samples); end: the neurons at the end."""

    residual: Float[Array, "points samples"]
    kernels: Float[Array, "nodes samples samples"]
    end: Walk


def depart(course: Course, start: Start, places: int) -> Walk:
    pattern = start.pattern
    force, inner, overlap = forces(course, pattern, start.preactivation)
    zero = jnp.zeros_like(start.output)
    return Walk(
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
        force=force,
        inner=inner,
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
    """Takes the neurons from point to point, each with its own events."""
    problem = course.problem
    samples, hops = problem.labels.shape[0], max_hops(problem, start)
    blank = jnp.zeros((samples, samples))

    def interval(walk, stop):
        goal, is_node = stop
        walk = advance(course, walk, goal, noise, hops)
        wanted = wants_kernels & is_node
        matrix = jax.lax.cond(wanted, lambda: kernel(problem, start, walk), lambda: blank)
        return walk, (residual(problem, start, walk), matrix)

    stops = (jnp.asarray(POINTS[1:]), jnp.arange(len(POINTS) - 1) % 2 == 0)
    end, (residuals, kernels) = jax.lax.scan(interval, depart(course, start, places), stops)
    return Swept(residuals, kernels[0::2], end)


def _weight(start: Start, walk: Walk) -> PerNeuron:
    return jnp.exp(2.0 * jnp.minimum(start.log_scale + walk.total_growth(), LARGEST))


def residual(problem: Problem, start: Start, walk: Walk) -> PerSample:
    """y - h where the neurons are, all of them at the same time."""
    active = jnp.where(walk.pattern.mode == _modes.ACTIVE, walk.preactivation, 0.0)
    return problem.labels - (_weight(start, walk) * walk.reduced.output) @ active


def kernel(problem: Problem, start: Start, walk: Walk) -> Float[Array, "samples samples"]:
    """The tangent kernel K of r' = -K r, with each neuron's D projected where it slides:

    K_kl = 1/n sum_j weight_j alpha_jk alpha_jl (a_j^2 <x_k, P_j x_l> + p_jk p_jl).
    """
    weight, output = _weight(start, walk), walk.reduced.output
    active = walk.pattern.mode == _modes.ACTIVE
    mask = active.astype(jnp.float64)
    outer = weight * output**2
    p = jnp.where(active, walk.preactivation, 0.0)
    matrix = (mask.T @ (outer[:, None] * mask)) * problem.gram + p.T @ (weight[:, None] * p)
    slots, response = walk.pattern.slots, walk.pattern.response
    if slots.shape[1] > 0:
        rows = problem.gram.at[slots].get(mode="fill", fill_value=0.0) * mask[:, None, :]
        flat = rows.reshape(-1, rows.shape[2])
        scaled = (outer[:, None, None] * response).reshape(-1, rows.shape[2])
        matrix = matrix - flat.T @ scaled
    return matrix / problem.labels.shape[0]

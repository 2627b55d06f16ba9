"""A sweep: all neurons through one step under a given residual, and the residual they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _modes
from .._branch import run_if
from .._field import Pattern, Problem
from .._shapes import PerNeuron, PerSample, Scalar
from .._solution import RESULTS
from ._collocation import NUM_NODES, POINTS
from ._flight import fly, land
from ._frame import by_samples, node_frame, overlaps
from ._hop import advance
from ._neurons import Start
from ._path import Reduced
from ._walk import LARGEST, Course, StepEvents, Walk


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
    """Takes the neurons through the step: together while nothing happens, then from point to point,
    each with its own events."""
    problem = course.problem
    samples, hops = problem.labels.shape[0], max_hops(problem, start)
    walk = depart(course, start, places)
    flight = fly(course, walk, noise)
    weights = weight(start, flight.growth())
    residuals = jax.vmap(lambda w, a, p: residual(problem, walk.pattern.mode, w, a, p))(
        weights, flight.moves.end.output, flight.preactivation
    )
    kernels = run_if(
        wants_kernels & (flight.safe > 0),
        lambda _: jax.vmap(lambda w, a, p: kernel(problem, walk.pattern, w, a, p))(
            weights[::2], flight.moves.end.output[::2], flight.preactivation[::2]
        ),
        jnp.zeros((NUM_NODES, samples, samples)),
    )

    def interval(carry):
        index, walk, residuals, kernels = carry
        walk = advance(course, walk, jnp.asarray(POINTS)[index + 1], noise, hops)
        now = (weight(start, walk.total_growth()), walk.reduced.output, walk.preactivation)
        residuals = residuals.at[index].set(residual(problem, walk.pattern.mode, *now))
        kernels = run_if(
            wants_kernels & (index % 2 == 0),
            lambda kernels: kernels.at[index // 2].set(kernel(problem, walk.pattern, *now)),
            kernels,
        )
        return index + 1, walk, residuals, kernels

    carry = (flight.safe, land(course, walk, flight), residuals, kernels)
    _, end, residuals, kernels = jax.lax.while_loop(
        lambda carry: carry[0] < len(POINTS) - 1, interval, carry
    )
    return Swept(residuals, kernels, end)


def weight(start: Start, growth) -> PerNeuron:
    """The square of a neuron's scale."""
    return jnp.exp(2.0 * jnp.minimum(start.log_scale + growth, LARGEST))


def residual(problem: Problem, mode, weight, output, preactivation) -> PerSample:
    """y - h where the neurons are, all of them at the same time."""
    active = jnp.where(mode == _modes.ACTIVE, preactivation, 0.0)
    return problem.labels - (weight * output) @ active


def kernel(
    problem: Problem, pattern: Pattern, weight, output, preactivation
) -> Float[Array, "samples samples"]:
    """The tangent kernel K of r' = -K r, with each neuron's D projected where it slides:

    K_kl = 1/n sum_j weight_j alpha_jk alpha_jl (a_j^2 <x_k, P_j x_l> + p_jk p_jl).
    """
    active = pattern.mode == _modes.ACTIVE
    mask = active.astype(jnp.float64)
    outer = weight * output**2
    p = jnp.where(active, preactivation, 0.0)
    matrix = (mask.T @ (outer[:, None] * mask)) * problem.gram + p.T @ (weight[:, None] * p)
    slots, response = pattern.slots, pattern.response
    if slots.shape[1] > 0:
        rows = problem.gram.at[slots].get(mode="fill", fill_value=0.0) * mask[:, None, :]
        flat = rows.reshape(-1, rows.shape[2])
        scaled = (outer[:, None, None] * response).reshape(-1, rows.shape[2])
        matrix = matrix - flat.T @ scaled
    return matrix / problem.labels.shape[0]

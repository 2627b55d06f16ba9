"""The solution of a collocation problem: the residual that the neurons, moving under it, leave.

The unknown is the residual at the nodes, r; a sweep gives R(r), and the defect is R(r) - r. It is
closed by a quasi-Newton iteration with the tangent kernels K_i of a sweep,

    r <- r + (I + H Gamma Q K)^{-1} (R(r) - r),

Q the integration matrix of the nodes and Gamma the curvatures of the loss there, in front of it, as
r is a function of h and not of its past; the kernels are those of the first sweep, and of a later
one where a sweep gains little. The last sweep's neurons are the result. Where a large neuron
switches, r has a kink, which no polynomial follows: the step is cut short there.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._branch import run_if
from .._results import RESULTS
from .._shapes import Scalar
from ._collocation import NODES, POINTS
from ._collocation_problem import AT_POINTS, CollocationProblem, NodalValues
from ._error_estimate import (
    NEAR,
    effect,
    error,
    first_kink,
    notable,
    truncation_of,
    trusted,
    unsettled,
)
from ._interpolation import lagrange
from ._iterate import Iterate, NewtonMatrix, alone
from ._record import StepEvents, Truncation
from ._small import small_product
from ._sweep import Swept, sweep

_MAX_SWEEPS = 12
_TANGENT_SWEEPS = 12
# A derivative is as exact as the tolerance says where steps are taken to this part of it.
_STRICTER = 0.1
_STALE = 0.1  # a sweep that gains less than this makes the matrix anew


class StepSolution(eqx.Module):
    """error: what it does to a neuron, relative to its own size.

    finished: if not, it goes on from `iterate`, and the rest is of no use."""

    finished: Bool[Array, ""]
    iterate: Iterate
    swept: Swept
    nodal_values: NodalValues  # their length is shorter where a kink ends the step
    converged: Bool[Array, ""]
    error: Scalar


def solve_step(
    collocation: CollocationProblem, places: int, ends_at_kinks: bool = True
) -> StepSolution:
    """Iterates sweeps until the correction moves no neuron by more than a tenth of the tolerance.

    Its derivative is that of the fixed point: see `_tangent`.
    """
    return _solve_step(
        collocation,
        Iterate.none(collocation.problem),
        places=places,
        ends_at_kinks=ends_at_kinks,
        whole=True,
        differentiated=False,
    )


def resumed_step(collocation: CollocationProblem, iterate: Iterate, places: int) -> StepSolution:
    """The same from where it stands, to its end; but under `jax.vmap` by one sweep, so that no lane
    waits for one whose step takes more of them."""
    return _solve_step(
        collocation, iterate, places=places, ends_at_kinks=True, whole=False, differentiated=False
    )


class _Iteration(eqx.Module):
    iterate: Iterate
    used: NodalValues  # of the last sweep
    swept: Swept


@eqx.filter_custom_jvp
def _solve_step(
    collocation: CollocationProblem,
    iterate: Iterate,
    *,
    places: int,
    ends_at_kinks: bool | Bool[Array, ""],
    whole: bool,
    differentiated: bool,
) -> StepSolution:
    collocation, strict = collocation.stricter(_STRICTER if differentiated else 1.0)
    ends_at_kinks = jnp.array(ends_at_kinks) & ~collocation.known
    goes_on = jnp.array(True) if whole or differentiated else alone(collocation.guess.length)
    begin = iterate.begun(collocation)

    def sweep_once(carry: _Iteration):
        return _iteration(collocation, carry.iterate, places, ends_at_kinks, differentiated)

    def enough(length):
        return 0.1 * collocation.tolerance + collocation.rounding() * length

    def unfinished(carry: _Iteration):
        now, length = carry.iterate, carry.used.length
        slow = (now.sweeps > 3) & (now.effect > 0.7 * now.previous) & ~now.cut
        going = (now.effect > enough(length)) & jnp.isfinite(now.effect) & ~slow
        return (going | now.cut) & (now.sweeps < _MAX_SWEEPS) & ~collocation.known

    def running(carry: _Iteration):
        first = (carry.iterate.sweeps == begin.sweeps) & ~collocation.is_empty()
        return first | (goes_on & unfinished(carry))

    blank = _Iteration(
        begin, begin.nodal_values, Swept.none(collocation.problem, collocation.start, places)
    )
    done = jax.lax.while_loop(running, sweep_once, blank)
    last, length = done.iterate, done.used.length
    missed = error(collocation, done.used, done.swept, last.newton_matrix)
    return StepSolution(
        finished=~unfinished(done),
        iterate=last,
        swept=done.swept,
        nodal_values=done.used,
        converged=(last.effect <= enough(length)) & ~last.cut,
        error=strict * jnp.maximum(missed - collocation.rounding() * length, 0.0),
    )


def _sweep(
    collocation: CollocationProblem,
    nodal_values: NodalValues,
    wants_kernels,
    truncation: Truncation,
    places: int,
    compacted: bool = True,
) -> Swept:
    start, problem = collocation.start, collocation.problem
    generator = nodal_values.generator(problem, start.log_scale)
    uncertainty = collocation.uncertainty.under(nodal_values)
    return sweep(
        problem, generator, start, uncertainty, places, wants_kernels, truncation, compacted
    )


def _iteration(
    collocation: CollocationProblem,
    carry: Iterate,
    places: int,
    ends_at_kinks,
    differentiated: bool,
) -> _Iteration:
    """One sweep, and what follows from it for the next."""
    used = carry.nodal_values
    truncation = truncation_of(collocation, used.length, carry.since, differentiated)
    truncation = jax.tree.map(
        lambda a, b: jnp.where(ends_at_kinks, a, b), truncation, Truncation.always()
    )
    wants_kernels = (carry.since == 0) & ~collocation.known
    swept = _sweep(collocation, used, wants_kernels, truncation, places)
    kink = first_kink(collocation, swept.record.events, used.length, differentiated)
    cut = (kink < 1.0) & ends_at_kinks
    fresh = (carry.since == 0) & ~cut & ~collocation.known
    newton_matrix = run_if(
        fresh, lambda _: _newton_matrix(collocation, swept, used), carry.newton_matrix
    )
    change = _correction(newton_matrix, swept, used)
    size = effect(collocation, change, used.length, newton_matrix.mean_kernel)
    size = jnp.maximum(size, unsettled(collocation, used, swept))
    size = jnp.where(swept.result == RESULTS.successful, size, jnp.inf)
    corrected = _corrected(swept, used, change)
    # Only a first kink near the end leaves the correction worth keeping.
    near = (carry.since > 0) & (kink > NEAR)
    shorter = jnp.where(near, corrected.nodes, used.nodes)
    shorter = small_product(lagrange(kink * jnp.asarray(NODES)).T, shorter)
    shorter = NodalValues.of_nodes(shorter, collocation.residual, kink * used.length)
    stale = (carry.since > 0) & ~cut & (size > _STALE * carry.effect)
    reach = jnp.where(carry.sweeps == 0, trusted(swept, used, collocation), carry.trusted)
    iterate = Iterate(
        nodal_values=jax.tree.map(lambda a, b: jnp.where(cut, a, b), shorter, corrected),
        newton_matrix=newton_matrix,
        cut=cut,
        shortened=carry.shortened | cut,
        since=jnp.where((cut & ~near) | stale, 0, carry.since + 1),
        sweeps=carry.sweeps + 1,
        effect=size,
        previous=carry.effect,
        trusted=jnp.where(cut, 1.0, reach),
    )
    return _Iteration(iterate, used, swept)


def _newton_matrix(
    collocation: CollocationProblem, swept: Swept, used: NodalValues
) -> NewtonMatrix:
    problem = collocation.problem
    curvature = None if problem.plain else problem.curvature(swept.h[0::2])
    return NewtonMatrix.of(swept.kernels, curvature, used.length)


def _correction(
    newton_matrix: NewtonMatrix, swept: Swept, used: NodalValues
) -> Float[Array, "nodes samples"]:
    return newton_matrix.solve(swept.residual[0::2] - used.nodes)


def _corrected(swept: Swept, used: NodalValues, change) -> NodalValues:
    nodes = used.nodes + change
    left = jnp.concatenate([used.fine[:1], swept.residual])
    fine = left + small_product(AT_POINTS, nodes - left[1::2])
    fine = fine.at[0].set(used.fine[0])
    return NodalValues(nodes, fine, used.length)


@_solve_step.def_jvp
def _tangent(primals, tangents, *, places: int, ends_at_kinks: bool, whole, differentiated):
    """The derivative of the fixed point, by the same iteration on the tangents.

    A derivative of r jumps where a kink moves. In a step that was cut at a kink the length
    therefore moves with it, which keeps the kink at its place in the step: by how much follows
    from two derivatives, that for a fixed length, and that by the length. And where a kink follows
    at once upon the beginning of a step, the derivative there is not that of the rest.
    """
    (collocation, iterate), (direction, _) = primals, tangents
    solved = _solve_step(
        collocation,
        iterate,
        places=places,
        ends_at_kinks=ends_at_kinks,
        whole=whole,
        differentiated=True,
    )
    fixed, events = solved.nodal_values, solved.swept.record.events
    at_once = jnp.any(notable(collocation, events) & (events.time < POINTS[1]))

    def once(
        collocation: CollocationProblem, nodal_values: NodalValues
    ) -> tuple[NodalValues, Swept]:
        given = (jnp.array(False), Truncation.always(), places)
        swept = _sweep(collocation, nodal_values, *given, compacted=False)
        new = _corrected(
            swept, nodal_values, _correction(solved.iterate.newton_matrix, swept, nodal_values)
        )
        continued = small_product(AT_POINTS[:1], new.nodes)[0]
        begins = jnp.where(at_once, continued, collocation.residual)
        return NodalValues(new.nodes, new.fine.at[0].set(begins), nodal_values.length), swept

    def derivative(direction, length):
        """Of the last sweep, and of the unknowns that it used."""
        zero = eqx.tree_at(lambda u: u.length, jax.tree.map(jnp.zeros_like, fixed), length)
        known = collocation.known
        start = jax.tree.map(lambda a, b: jnp.where(known, a, b), direction.guess, zero)

        def again(_, carry):
            new, swept = eqx.filter_jvp(once, (collocation, fixed), (direction, carry[0]))[1]
            return new, carry[0], swept

        # In one loop with the last, which is the only one that counts: a sweep is much to compile.
        shapes = eqx.filter_eval_shape(again, 0, (start, start, None))[2]
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        sweeps = jnp.where(known, 1, 1 + _TANGENT_SWEEPS)
        _, used, swept = jax.lax.fori_loop(0, sweeps, again, (start, start, blank))
        return swept, used

    direction = _zeros_for_none(collocation, direction)
    both = jax.tree.map(lambda t: jnp.stack([t, jnp.zeros_like(t)]), direction)
    shortened = solved.iterate.shortened
    asked = jnp.where(shortened, 0.0, direction.guess.length)
    lengths = jnp.stack([asked, jnp.ones(())])
    both = jax.vmap(derivative)(both, lengths)
    moves = _anchored(events, both[0].record.events.time)
    moves = jnp.where(shortened, moves, 0.0)
    swept_tangent, values_tangent = jax.tree.map(lambda t: t[0] + moves * t[1], both)
    none = jax.tree.map(lambda leaf: None, solved)
    out = eqx.tree_at(
        lambda a: (a.swept, a.nodal_values),
        none,
        (swept_tangent, values_tangent),
        is_leaf=lambda leaf: leaf is None,
    )
    return solved, out


def _anchored(events: StepEvents, tangents: Float[Array, "2 places"]) -> Scalar:
    """How the length moves with the kink that ends the step: so that its place there does not.

    Of those that are left in a step the others are weak, or at its very beginning.
    tangents: of the events' places in the step, with the problem and with the length.
    """
    index = jnp.argmax(jnp.where(events.present(), events.kink * events.time, -1.0))
    own, by_length = tangents[:, index]
    moves = jnp.any(events.present()) & (events.time[index] > 0.5) & (by_length != 0.0)
    return jnp.where(moves, -own / jnp.where(moves, by_length, 1.0), 0.0)


def _zeros_for_none(primal, tangent):
    def fill(x, t):
        if t is None and eqx.is_inexact_array(x):
            return jnp.zeros_like(x)
        return t

    return jax.tree.map(fill, primal, tangent, is_leaf=lambda leaf: leaf is None)

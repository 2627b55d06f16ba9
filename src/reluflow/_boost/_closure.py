"""One attempted step: the residual that the neurons, moving under it, leave.

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
from ._interpolation import lagrange
from ._judgement import (
    NEAR,
    effect,
    error,
    first_kink,
    notable,
    trusted,
    unsettled,
    worth,
)
from ._progress import Factors, Progress, alone
from ._question import AT_POINTS, Question, Unknowns
from ._record import StepEvents, Worth
from ._small import small_product
from ._sweep import Swept, sweep

_MAX_SWEEPS = 12
_TANGENT_SWEEPS = 12
# A derivative is as exact as the tolerance says where steps are taken to this part of it.
_STRICTER = 0.1
_STALE = 0.1  # a sweep that gains less than this makes the matrix anew


class Attempt(eqx.Module):
    """error: what it does to a neuron, relative to its own size.

    finished: if not, it goes on from `progress`, and the rest is of no use."""

    finished: Bool[Array, ""]
    progress: Progress
    swept: Swept
    unknowns: Unknowns  # their length is less than asked for where a kink ends the step
    converged: Bool[Array, ""]
    error: Scalar


def attempt(question: Question, places: int, ends_at_kinks: bool = True) -> Attempt:
    """Iterates sweeps until the correction moves no neuron by more than a tenth of the tolerance.

    Its derivative is that of the fixed point: see `_tangent`.
    """
    return _attempt(
        question,
        Progress.none(question.problem),
        places=places,
        ends_at_kinks=ends_at_kinks,
        whole=True,
        differentiated=False,
    )


def go_on(question: Question, progress: Progress, places: int) -> Attempt:
    """The same from where it stands, to its end; but under `jax.vmap` by one sweep, so that no lane
    waits for one whose step takes more of them."""
    return _attempt(
        question, progress, places=places, ends_at_kinks=True, whole=False, differentiated=False
    )


class _Sweeping(eqx.Module):
    progress: Progress
    used: Unknowns  # of the last sweep
    swept: Swept


@eqx.filter_custom_jvp
def _attempt(
    question: Question,
    progress: Progress,
    *,
    places: int,
    ends_at_kinks: bool | Bool[Array, ""],
    whole: bool,
    differentiated: bool,
) -> Attempt:
    question, strict = question.stricter(_STRICTER if differentiated else 1.0)
    ends_at_kinks = jnp.array(ends_at_kinks) & ~question.known
    goes_on = jnp.array(True) if whole or differentiated else alone(question.guess.length)
    begin = progress.begun(question)

    def iterate(carry: _Sweeping):
        return _iterate(question, carry.progress, places, ends_at_kinks, differentiated)

    def enough(length):
        return 0.1 * question.tolerance + question.rounding() * length

    def unfinished(carry: _Sweeping):
        now, length = carry.progress, carry.used.length
        slow = (now.sweeps > 3) & (now.effect > 0.7 * now.previous) & ~now.cut
        going = (now.effect > enough(length)) & jnp.isfinite(now.effect) & ~slow
        return (going | now.cut) & (now.sweeps < _MAX_SWEEPS) & ~question.known

    def running(carry: _Sweeping):
        first = (carry.progress.sweeps == begin.sweeps) & ~question.is_empty()
        return first | (goes_on & unfinished(carry))

    blank = _Sweeping(begin, begin.unknowns, Swept.none(question.problem, question.start, places))
    done = jax.lax.while_loop(running, iterate, blank)
    last, length = done.progress, done.used.length
    missed = error(question, done.used, done.swept, last.factors)
    return Attempt(
        finished=~unfinished(done),
        progress=last,
        swept=done.swept,
        unknowns=done.used,
        converged=(last.effect <= enough(length)) & ~last.cut,
        error=strict * jnp.maximum(missed - question.rounding() * length, 0.0),
    )


def _sweep(
    question: Question,
    unknowns: Unknowns,
    wants_kernels,
    of_use: Worth,
    places: int,
    pooled: bool = True,
) -> Swept:
    start, problem = question.start, question.problem
    course = unknowns.course(problem, start.log_scale)
    uncertainty = question.uncertainty.under(unknowns)
    return sweep(problem, course, start, uncertainty, places, wants_kernels, of_use, pooled)


def _iterate(
    question: Question, carry: Progress, places: int, ends_at_kinks, differentiated: bool
) -> _Sweeping:
    """One sweep, and what follows from it for the next."""
    used = carry.unknowns
    of_use = worth(question, used.length, carry.since, differentiated)
    of_use = jax.tree.map(lambda a, b: jnp.where(ends_at_kinks, a, b), of_use, Worth.always())
    wants_kernels = (carry.since == 0) & ~question.known
    swept = _sweep(question, used, wants_kernels, of_use, places)
    kink = first_kink(question, swept.record.events, used.length, differentiated)
    cut = (kink < 1.0) & ends_at_kinks
    fresh = (carry.since == 0) & ~cut & ~question.known
    factors = run_if(fresh, lambda _: _factors(question, swept, used), carry.factors)
    change = _correction(factors, swept, used)
    size = effect(question, change, used.length, factors.mean_kernel)
    size = jnp.maximum(size, unsettled(question, used, swept))
    size = jnp.where(swept.result == RESULTS.successful, size, jnp.inf)
    corrected = _corrected(swept, used, change)
    # Only a first kink near the end leaves the correction worth keeping.
    near = (carry.since > 0) & (kink > NEAR)
    shorter = jnp.where(near, corrected.nodes, used.nodes)
    shorter = small_product(lagrange(kink * jnp.asarray(NODES)).T, shorter)
    shorter = Unknowns.of_nodes(shorter, question.residual, kink * used.length)
    stale = (carry.since > 0) & ~cut & (size > _STALE * carry.effect)
    reach = jnp.where(carry.sweeps == 0, trusted(swept, used, question), carry.trusted)
    progress = Progress(
        unknowns=jax.tree.map(lambda a, b: jnp.where(cut, a, b), shorter, corrected),
        factors=factors,
        cut=cut,
        shortened=carry.shortened | cut,
        since=jnp.where((cut & ~near) | stale, 0, carry.since + 1),
        sweeps=carry.sweeps + 1,
        effect=size,
        previous=carry.effect,
        trusted=jnp.where(cut, 1.0, reach),
    )
    return _Sweeping(progress, used, swept)


def _factors(question: Question, swept: Swept, used: Unknowns) -> Factors:
    problem = question.problem
    curvature = None if problem.plain else problem.curvature(swept.h[0::2])
    return Factors.of(swept.kernels, curvature, used.length)


def _correction(factors: Factors, swept: Swept, used: Unknowns) -> Float[Array, "nodes samples"]:
    return factors.solve(swept.residual[0::2] - used.nodes)


def _corrected(swept: Swept, used: Unknowns, change) -> Unknowns:
    nodes = used.nodes + change
    left = jnp.concatenate([used.fine[:1], swept.residual])
    fine = left + small_product(AT_POINTS, nodes - left[1::2])
    fine = fine.at[0].set(used.fine[0])
    return Unknowns(nodes, fine, used.length)


@_attempt.def_jvp
def _tangent(primals, tangents, *, places: int, ends_at_kinks: bool, whole, differentiated):
    """The derivative of the fixed point, by the same iteration on the tangents.

    A derivative of r jumps where a kink moves. In a step that was cut at a kink the length
    therefore moves with it, which keeps the kink at its place in the step: by how much follows
    from two derivatives, that for a fixed length, and that by the length. And where a kink follows
    at once upon the beginning of a step, the derivative there is not that of the rest.
    """
    (question, progress), (direction, _) = primals, tangents
    solved = _attempt(
        question,
        progress,
        places=places,
        ends_at_kinks=ends_at_kinks,
        whole=whole,
        differentiated=True,
    )
    fixed, events = solved.unknowns, solved.swept.record.events
    at_once = jnp.any(notable(question, events) & (events.time < POINTS[1]))

    def once(question: Question, unknowns: Unknowns) -> tuple[Unknowns, Swept]:
        given = (jnp.array(False), Worth.always(), places)
        swept = _sweep(question, unknowns, *given, pooled=False)
        new = _corrected(swept, unknowns, _correction(solved.progress.factors, swept, unknowns))
        continued = small_product(AT_POINTS[:1], new.nodes)[0]
        begins = jnp.where(at_once, continued, question.residual)
        return Unknowns(new.nodes, new.fine.at[0].set(begins), unknowns.length), swept

    def derivative(direction, length):
        """Of the last sweep, and of the unknowns that it used."""
        zero = eqx.tree_at(lambda u: u.length, jax.tree.map(jnp.zeros_like, fixed), length)
        known = question.known
        start = jax.tree.map(lambda a, b: jnp.where(known, a, b), direction.guess, zero)

        def again(_, carry):
            new, swept = eqx.filter_jvp(once, (question, fixed), (direction, carry[0]))[1]
            return new, carry[0], swept

        # In one loop with the last, which is the only one that counts: a sweep is much to compile.
        shapes = eqx.filter_eval_shape(again, 0, (start, start, None))[2]
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        sweeps = jnp.where(known, 1, 1 + _TANGENT_SWEEPS)
        _, used, swept = jax.lax.fori_loop(0, sweeps, again, (start, start, blank))
        return swept, used

    direction = _zeros_for_none(question, direction)
    both = jax.tree.map(lambda t: jnp.stack([t, jnp.zeros_like(t)]), direction)
    shortened = solved.progress.shortened
    asked = jnp.where(shortened, 0.0, direction.guess.length)
    lengths = jnp.stack([asked, jnp.ones(())])
    both = jax.vmap(derivative)(both, lengths)
    moves = _anchored(events, both[0].record.events.time)
    moves = jnp.where(shortened, moves, 0.0)
    swept_tangent, unknowns_tangent = jax.tree.map(lambda t: t[0] + moves * t[1], both)
    none = jax.tree.map(lambda leaf: None, solved)
    out = eqx.tree_at(
        lambda a: (a.swept, a.unknowns),
        none,
        (swept_tangent, unknowns_tangent),
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

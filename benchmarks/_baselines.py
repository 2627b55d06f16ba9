"""What a user would write instead: `diffrax.diffeqsolve` alone, and in a loop over events.

Both move plain weights theta = (a, w) by

    a_j' = 1/n sum_k alpha_jk r_k <w_j, x_k>,     w_j' = a_j/n sum_k alpha_jk r_k x_k,

with relu'(0) = 0, and an absolute tolerance of rtol |w(0)|: with the usual atol = rtol they would
step over the alignment without a word. Both end steps at the times asked for, since a dense output
is of lower order than a step.
"""

from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import optimistix

# Up to this size plain sums, which XLA fuses, are faster on a CPU than matrix products (measured:
# 7 times for two points, 8 times slower for orthonormal-32; and under vmap 4 times slower from 32
# lanes on). Each baseline gets the faster one.
_FUSED_PRODUCTS = 4096
# A guard fires this far beyond its boundary, relative to |w_j| |x_k|; so a unit that has just been
# switched is as far on the right side of it.
_BEYOND = 1e-10
_ROUNDING = 1e-12  # below this share of its terms, a velocity is zero
# Bisection raises under vmap, where lanes without an event have no root to bracket.
_ALONE = optimistix.Bisection(rtol=1e-12, atol=1e-12, flip="detect")
_UNDER_VMAP = optimistix.Newton(rtol=1e-12, atol=1e-12)


class Run(NamedTuple):
    """Weights at the times asked for (a leading axis), the work, and how far it came."""

    a: jax.Array
    w: jax.Array
    evaluations: jax.Array
    restarts: jax.Array
    reached: jax.Array


def velocity(weights, data, active=None, batched=False):
    """theta' on the pattern `active` (neurons, samples), or on the one of the weights."""
    a, w = weights
    x, y = data.x, data.y
    small = not batched and w.shape[0] * x.size <= _FUSED_PRODUCTS
    p = jnp.sum(w[:, None, :] * x, axis=-1) if small else w @ x.T
    active = p > 0.0 if active is None else active
    gated = jnp.where(active, p, 0.0)
    h = jnp.sum(a[:, None] * gated, axis=0) if small else a @ gated
    residual = (y - h) / y.shape[0]
    pull = jnp.where(active, residual, 0.0)
    push = jnp.sum(pull[:, :, None] * x, axis=1) if small else pull @ x
    return jnp.sum(gated * residual, axis=1), a[:, None] * push


def _controller(rtol, weights):
    atol = rtol * jnp.min(jnp.linalg.norm(weights[1], axis=1))
    return diffrax.PIDController(rtol=rtol, atol=atol)


def _evaluations(solver, steps):
    """Of the field: stages of all attempts, one to begin, and one to choose the first step."""
    stages = solver.tableau.num_stages - int(solver.tableau.fsal)
    return stages * steps + 2


def plain(net, data, rtol, times, *, solver, max_steps: int) -> Run:
    """One `diffeqsolve`, kinks ignored; NaN at times it does not reach in `max_steps` attempts."""
    weights = net.weights()
    sol = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, weights, args: velocity(weights, data)),
        solver,
        0.0,
        times[-1],
        None,
        weights,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=diffrax.ClipStepSizeController(
            _controller(rtol, weights), step_ts=times
        ),
        max_steps=max_steps,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    there = jnp.isfinite(sol.ts[0])
    a, w = sol.ys[0]
    return Run(
        jnp.where(there[:, None], a, jnp.nan),
        jnp.where(there[:, None, None], w, jnp.nan),
        _evaluations(solver, sol.stats["num_steps"]),
        jnp.array(0),
        sol.ts[1][-1],
    )


class _Carry(NamedTuple):
    time: jax.Array
    weights: tuple[jax.Array, jax.Array]
    active: jax.Array
    stopped: jax.Array  # at rest on the boundary, inactive for good
    steps: jax.Array
    restarts: jax.Array
    failed: jax.Array


def restarted(
    net, data, rtol, times, *, solver, max_restarts: int, max_steps=100_000, batched=False
) -> Run:
    """A loop of `diffeqsolve` that ends at each event and starts again on the next pattern.

    The event is the least of the units' guards, +-<w_j, x_k>. There the unit goes on to the other
    side, or stops where nothing pushes it over; it cannot slide. NaN where it runs out of restarts.
    `batched`: what is best under vmap, rather than alone.
    """
    weights = net.weights()
    controller = _controller(rtol, weights)
    gram, length = data.gram(), jnp.linalg.norm(data.x, axis=1)

    def guards(weights, active, stopped):
        w = weights[1]
        beyond = _BEYOND * jnp.linalg.norm(w, axis=1)[:, None] * length
        p = w @ data.x.T
        return jnp.where(stopped, jnp.inf, jnp.where(active, p, -p) + beyond)

    event = diffrax.Event(
        lambda t, y, args, **_: jnp.min(guards(y, *args)),
        _UNDER_VMAP if batched else _ALONE,
        direction=False,
    )
    term = diffrax.ODETerm(lambda t, weights, args: velocity(weights, data, args[0], batched))

    def segment(carry: _Carry, until) -> _Carry:
        sol = diffrax.diffeqsolve(
            term,
            solver,
            carry.time,
            until,
            None,
            carry.weights,
            (carry.active, carry.stopped),
            stepsize_controller=controller,
            event=event,
            max_steps=max_steps,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        weights = jax.tree.map(lambda leaf: leaf[-1], sol.ys)
        stands = sol.result == diffrax.RESULTS.event_occurred
        failed = ~stands & (sol.result != diffrax.RESULTS.successful)
        place = jnp.argmin(guards(weights, carry.active, carry.stopped))
        active, stopped = switched(weights, carry.active, carry.stopped, place)
        return _Carry(
            sol.ts[-1],
            weights,
            jnp.where(stands, active, carry.active),
            jnp.where(stands, stopped, carry.stopped),
            carry.steps + sol.stats["num_steps"],
            carry.restarts + 1,
            failed,
        )

    def switched(weights, active, stopped, place):
        (a, w), (j, k) = weights, jnp.divmod(place, active.shape[1])
        h = a @ jnp.where(active, w @ data.x.T, 0.0)
        others = jnp.where(active[j].at[k].set(False), data.y - h, 0.0)
        outside, effort = gram[k] @ others, jnp.abs(gram[k]) @ jnp.abs(others)
        rests = active[j, k] & (jnp.abs(outside) <= _ROUNDING * effort)
        return active.at[j, k].set(~active[j, k]), stopped.at[j, k].set(rests)

    def reach(carry: _Carry, until):
        def running(carry):
            return (carry.time < until) & (carry.restarts < max_restarts) & ~carry.failed

        carry = jax.lax.while_loop(running, lambda carry: segment(carry, until), carry)
        there = carry.time >= until
        return carry, jax.tree.map(lambda leaf: jnp.where(there, leaf, jnp.nan), carry.weights)

    active = weights[1] @ data.x.T > 0.0
    zero = jnp.array(0)
    carry = _Carry(
        jnp.zeros(()), weights, active, jnp.zeros_like(active), zero, zero, jnp.array(False)
    )
    carry, (a, w) = jax.lax.scan(reach, carry, times)
    work = _evaluations(solver, carry.steps) + 2 * (carry.restarts - 1)
    return Run(a, w, work, carry.restarts, carry.time)

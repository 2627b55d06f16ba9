"""Gradient descent on the true weights: the baseline that everyone has, in one compiled loop."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._events._event_buffers import Ambiguities, Events
from ._integration._results import RESULTS
from ._integration._solution import Solution
from ._model._activation import AbstractActivation, relu
from ._model._dataset import Dataset
from ._model._loss import mean_loss
from ._model._losses import AbstractLoss, as_loss, square
from ._model._network import Network, check_single_pair
from ._support._checks import (
    check_bool,
    check_memory,
    check_positive_int,
    is_concrete,
    require_x64,
    shortened,
)
from ._support._forward_mode import forward_mode_only

# Below e^-700 a weight is close to the smallest float64, e^-745, and would lose its digits.
_LOG_SMALLEST = -700.0

# Up to this many products neurons * samples * dim the gradient as plain sums, which XLA fuses
# into a few loops, beats the same as matrix products, whose calls cost more than their
# arithmetic (measured on a CPU: 4 times faster for the two points, 6 times slower at 4e5).
_FUSED_PRODUCTS = 4096

# Along the flow |theta(t) - theta(0)|^2 <= t (L(0) - L(t)), by Cauchy and Schwarz. A descent of
# step eta loses at least eta (1 - eta c / 2) |grad L|^2 in a step, c the largest curvature on its
# way, so that it moves no further than 1 / (1 - eta c / 2) times that: this many, for eta up to
# 1.98 / c.
_FURTHEST = 100.0
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)  # of a loss, relative to itself


_NO_REVERSE = (
    "rf.descent cannot be differentiated in reverse mode (jax.grad, jax.vjp, jax.jacrev, "
    "jax.linearize): it keeps no step that was not saved. Use forward mode, jax.jvp or jax.jacfwd."
)


class _Saves(NamedTuple):
    """Where the trajectory is kept: numbers of steps between saves, and steps done at each."""

    lengths: np.ndarray | jax.Array
    counts: np.ndarray | jax.Array


def descent(
    net: Network,
    data: Dataset,
    optimiser: optax.GradientTransformation,
    steps: int,
    *,
    loss: AbstractLoss | Callable = square,
    save_every: int | None = None,
    throw: bool = True,
) -> Solution:
    """theta_{i+1} = theta_i + optimiser(grad L(theta_i)),   theta = (a, w).

        dL/da_j = -1/n sum_k r_k phi(<w_j, x_k>)
        dL/dw_j = -a_j/n sum_k phi'(<w_j, x_k>) r_k x_k

    with relu'(0) = 0; r = y - h and the papers' L = 1/(2n) sum r^2 by default, and
    r_k = -omega_k dl/dh for other losses. Plain gradient descent with
    step eta is the explicit Euler method of the flow, first order in eta, also where the flow
    slides along a boundary (there it zigzags across).

    Time: `ts` is a clock, a number of gradient -1 that the same optimiser moves. For
    `optax.sgd(rate)`, with a constant rate or a schedule, that is the sum of the rates: the
    time of the flow that the descent follows. The clock of an optimiser whose update is not
    proportional to the gradient (momentum, Adam, ...) still counts its progress, but no time
    of the flow can be had from it.

    Arguments:
        net: the start; it is moved in plain weights, so none may be below e^-700.
        data: the data set.
        optimiser: any optax optimiser, `optax.sgd(1e-3)` say. The compiled loop is kept for
            the object: pass the same one again rather than an equal one.
        steps: how many steps.
        loss: as for `rf.flow`.
        save_every: a state is saved every so many steps, at step 0 and at the last one. Only
            the first and the last are saved where not given.
        throw: whether to raise an error where the descent diverges, or to return the result
            `RESULTS.diverged` and the states that were saved before. It has diverged where the
            loss or weights are no longer finite; and, with `optax.sgd(rate)`, where in the end
            |theta - theta(0)|^2 > 100 t (L(0) - L), further than steps below 1.98 over the largest
            curvature can lead: as where large steps have thrown all neurons to where they see no
            sample, and the loss is what it is without a network.

    Returns:
        A `Solution` with `time` = 1 + ceil(steps / save_every), no events, and one field
        evaluation a step. Works under `jax.jit` and `jax.vmap`.

    Raises:
        ValueError: weights below e^-700, dimensions that do not match, or counts that are not
            positive integers; RuntimeError where it diverges and `throw` is set.
    """
    require_x64()
    saves, loss = _check_arguments(net, data, optimiser, steps, save_every, throw), as_loss(loss)
    loss.check_labels(data.y)
    net, data = forward_mode_only((check_size(net), data), _NO_REVERSE)
    return _descend(net, data, optimiser, loss, saves, throw)


def _check_arguments(net, data, optimiser, steps, save_every, throw) -> _Saves:
    check_positive_int("steps", steps)
    if save_every is not None:
        check_positive_int("save_every", save_every)
    check_bool("throw", throw)
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise TypeError(
            "Argument `optimiser` must be an optax optimiser, `optax.sgd(1e-3)` say, but it is "
            f"{shortened(optimiser)}."
        )
    check_single_pair(net, data)
    every = steps if save_every is None else min(save_every, steps)
    saved = 1 + -(-steps // every)
    size = 8 * (net.neurons * (net.dim + 2) + 4)
    check_memory("save_every", saved * size, f"what is saved at {saved} times")
    counts = np.append(np.arange(0, steps, every), steps)
    return _Saves(np.diff(counts), counts)


def check_size(net: Network) -> Network:
    """`net`, unless plain numbers cannot hold its weights; neurons that are exactly 0 pass."""
    size = net.log_scale + jnp.log(
        jnp.maximum(jnp.abs(net.output), jnp.max(jnp.abs(net.hidden), axis=-1))
    )
    too_small = jnp.any(jnp.isfinite(size) & (size < _LOG_SMALLEST))
    message = (
        f"Argument `net` must have weights above e^{_LOG_SMALLEST:.0f} (about 1e-304) for a "
        "descent, which moves them as plain numbers. Use `rf.flow`, which keeps the logarithm "
        "of each neuron's size apart."
    )
    if is_concrete(too_small):
        if bool(too_small):
            raise ValueError(message)
        return net
    return eqx.error_if(net, too_small, message)


@eqx.filter_jit
def _descend(net: Network, data, optimiser, loss: AbstractLoss, saves, throw) -> Solution:
    weights = net.weights()
    update = _update(data, optimiser, net.activation, loss)

    def block(carry, length):
        carry = jax.lax.fori_loop(0, length, lambda _, inner: update(inner), carry)
        return carry, carry[0]

    _, later = jax.lax.scan(block, (weights, optimiser.init(weights)), saves.lengths)
    trajectory = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), weights, later
    )
    networks = jax.vmap(lambda a, w: Network.from_weights(a, w, net.activation))(*trajectory)
    return _solution(trajectory, networks, data, optimiser, loss, saves, throw)


def _update(data: Dataset, optimiser, activation: AbstractActivation, loss: AbstractLoss):
    """One step of the optimiser on ((a, w), its state)."""
    wants_more = isinstance(optimiser, optax.GradientTransformationExtraArgs)

    def value(weights):
        a, w = weights
        return data.mean(loss(a @ activation(w @ data.x.T), data.y))

    def update(carry):
        weights, state = carry
        grad = gradient(weights[0], weights[1], data, activation, loss)
        # What line searches ask for; the compiler drops it where nobody reads it.
        more = {"value": value(weights), "grad": grad, "value_fn": value} if wants_more else {}
        step, state = optimiser.update(grad, state, weights, **more)
        return optax.apply_updates(weights, step), state

    return update


def gradient(
    a: jax.Array,
    w: jax.Array,
    data: Dataset,
    activation: AbstractActivation = relu,
    loss: AbstractLoss = square,
) -> tuple[jax.Array, jax.Array]:
    """(dL/da, dL/dw) at plain weights a, shape (neurons,), and w, (neurons, dim).

    Written out, because reverse mode evaluates the mask twice and keeps what is not needed.
    """
    x, y = data.x, data.y

    def pulls(h):
        return data.weighted(loss.residual(h, y)) / y.shape[0]

    if a.shape[0] * x.size <= _FUSED_PRODUCTS:
        preactivation = jnp.sum(w[:, None, :] * x, axis=-1)
        active = activation(preactivation)
        residual = pulls(jnp.sum(a[:, None] * active, axis=0))
        pull = activation.times_slope(preactivation, residual)
        return (
            -jnp.sum(active * residual, axis=1),
            -a[:, None] * jnp.sum(pull[:, :, None] * x, axis=1),
        )
    preactivation = w @ x.T
    active = activation(preactivation)
    residual = pulls(a @ active)
    pull = activation.times_slope(preactivation, residual)
    return -(active @ residual), -a[:, None] * (pull @ x)


def _constant_rate(optimiser) -> jax.Array | None:
    """The rate of an optimiser whose step is that times the gradient; None for any other."""
    state = optimiser.init(jnp.zeros(()))
    if jax.tree.leaves(state):
        return None
    try:
        return optimiser.update(-jnp.ones(()), state)[0]
    except (ValueError, TypeError, AttributeError):
        return None  # it needs the parameters, so that its steps may differ from each other


def _clock(optimiser, saves: _Saves) -> jax.Array:
    """The optimiser's clock at the saves, shape (time,): a number whose gradient is always -1."""
    rate = _constant_rate(optimiser)
    if rate is not None:
        # A product is exact where a sum of many thousand steps is not.
        return jnp.asarray(saves.counts.astype(jnp.float64)) * rate
    start, slope = jnp.zeros(()), -jnp.ones(())
    state = optimiser.init(start)

    def tick(_, carry):
        now, state = carry
        step, state = optimiser.update(slope, state, now, **more)
        return now + step, state

    wants_more = isinstance(optimiser, optax.GradientTransformationExtraArgs)
    more = {"value": start, "grad": slope, "value_fn": jnp.negative} if wants_more else {}

    def block(carry, length):
        carry = jax.lax.fori_loop(0, length, tick, carry)
        return carry, carry[0]

    _, later = jax.lax.scan(block, (start, state), saves.lengths)
    return jnp.concatenate([start[None], later])


def _good(trajectory, networks: Network, losses, ts, plain: bool) -> jax.Array:
    """At which saves the descent has not diverged, shape (time,); see `descent`."""
    # The weights too: a NaN in a neuron that is inactive everywhere need not reach the loss.
    good = jnp.isfinite(losses) & jnp.isfinite(networks.squared_norm())
    if plain:
        moved, size = (
            sum(jnp.sum(leaf**2, axis=tuple(range(1, leaf.ndim))) for leaf in leaves)
            for leaves in ([leaf - leaf[0] for leaf in trajectory], trajectory)
        )
        fell = losses[0] - losses + _ROUNDING * jnp.maximum(losses[0], losses)
        possible = moved <= _FURTHEST * jnp.abs(ts) * fell + _ROUNDING**2 * size
        good = good & (possible | possible[-1] | ~good[-1])
    return jnp.cumprod(good).astype(bool)


def _solution(
    trajectory, networks: Network, data: Dataset, optimiser, loss, saves: _Saves, throw: bool
) -> Solution:
    """Pads what follows the first state by which the descent has diverged."""
    losses, ts, steps = mean_loss(networks, data, loss), _clock(optimiser, saves), saves.counts[-1]
    good = _good(trajectory, networks, losses, ts, _constant_rate(optimiser) is not None)
    last = jnp.maximum(jnp.sum(good) - 1, 0)
    kept = jnp.minimum(jnp.arange(ts.shape[0]), last)
    networks = jax.tree.map(lambda leaf: leaf[kept], networks)
    final = jax.tree.map(lambda leaf: leaf[last], networks)
    result = RESULTS.where(jnp.all(good), RESULTS.successful, RESULTS.diverged)
    solution = Solution(
        ts=jnp.where(good, ts, jnp.inf),
        losses=jnp.where(good, losses, jnp.inf),
        networks=networks,
        final=final,
        events=Events.empty(0),
        ambiguities=Ambiguities.empty(data.samples),
        result=result,
        stats={
            "num_steps": jnp.asarray(steps),
            "num_accepted_steps": jnp.asarray(steps),
            "num_rejected_steps": jnp.asarray(0),
            "num_events": jnp.asarray(0),
            "num_field_evaluations": jnp.asarray(steps),
            "num_sweeps": jnp.asarray(0),
            "t_final": ts[last],
            "loss_final": losses[last],
            "rounding": jnp.zeros(()),
            "rtol": jnp.ones(()),
        },
        state=None,
        data=data,
        loss=loss,
    )
    if throw:
        solution = result.error_if(solution, result != RESULTS.successful)
    return solution

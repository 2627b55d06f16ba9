"""Algorithm 1 of the 2026 paper, which finds the limit of the flow without integrating it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._model._shapes import Inputs, Labels, PerNeuron, Scalar, UnitFlags
from .._support._checks import as_float64, check_finite, is_concrete
from ._limit_process import LimitProcess
from ._orthogonal import lengths, masks, require_orthogonal

# Two candidate times this close, relative to themselves, are one: each is a sum of up to
# min(samples, neurons) terms, of rounded rates.
_ROUNDING = 256.0 * float(np.finfo(np.float64).eps)


def limit_process(net: Network, data: Dataset, *, initial_exponents=None) -> LimitProcess:
    """Algorithm 1 of the 2026 paper: the flow from `net` as lambda goes to 0, not integrated.

        M_jk = [<w_j, x_k> > 0 and a_j y_k > 0],  U = {k : y_k != 0},  q_j = -1,  s = 0;  repeat:
        v_j  = 1/n (sum_{k in U, M_jk} y_k^2 |x_k|^2)^{1/2}
        tau  = min_j s - q_j / v_j,  attained at j*;   q_j += (tau - s) v_j;   s = tau
        j* fits I = {k in U : M_j*k}: a_j* w_j* = e = sum_I y_k x_k / |x_k|^2,  |a_j*| = |w_j*|
        U -= I;  until v_j = 0 for every j that has not jumped.

    Only directions and signs of `net` enter: sizes that differ by factors of O(1) are the same
    in the limit, and lambda is only the unit of time (`LimitProcess.times`). A unit exactly on
    its boundary counts as inactive, for good, as in the flow.

    Arguments:
        net: the initialisation, |a_j| >= |w_j| (balanced or dominated by a_j, so that no a_j
            changes its sign).
        data: orthogonal inputs, of any lengths (the paper's have length 1).
        initial_exponents: (neurons,) q_j(0) < 0, -1 where not given: for sizes that are
            different powers of lambda, `net.log_norm() / -log_lambda`.

    Returns:
        `LimitProcess`. Works under `jax.jit` and `jax.vmap`, and differentiates in forward mode.

    Raises:
        ValueError: inputs not orthogonal, shapes that do not match, |a_j| < |w_j|, or exponents
            that are not negative; where these values are concrete.

    Source: 2026 paper, section 3, eq. 8 to 15 and Algorithm 1.
    """
    require_orthogonal(data, "the limit process")
    _check_network(net, data)
    if initial_exponents is None:
        exponent = -jnp.ones(net.neurons)
    else:
        exponent = _checked_exponents(initial_exponents, net.neurons)
    return _jumps(net, data, exponent)


# Inputs of other lengths than 1. On a plateau a dormant neuron obeys w' = a D with
# D = 1/n sum_{U, active} y_k x_k, so it turns towards D and grows at the rate |D|, for orthogonal
# inputs 1/n (sum y_k^2 |x_k|^2)^(1/2). While it jumps, p_k = <w, x_k> obeys
# p_k' = a r_k |x_k|^2 / n: the residuals of its samples no longer fall in proportion, so it turns
# again, but p_k cannot come to 0 (there r_k has the sign of y_k, which is that of a), and the flow
# of this one neuron ends at a critical point with all p_k > 0 and a != 0, that is at
# a p_k = y_k: a w = sum_I y_k x_k / |x_k|^2. Balanced, a^2 = |w|^2 = |a w|. All of this takes a
# time of O(1), during which the others do not move in the clock s.


class _Problem(eqx.Module):
    mask: UnitFlags
    sign: PerNeuron  # of a_j
    inputs: Inputs
    labels: Labels
    length: Labels  # |x_k|

    def plateau(self, waiting, unfitted, exponent) -> dict:
        """What is kept of a plateau; neurons that have jumped no longer grow."""
        alive = jnp.where(self.mask & unfitted, (self.labels * self.length) ** 2, 0.0)
        square = jnp.sum(alive, axis=1)
        moving = waiting & (square > 0.0)
        # Two selections: a derivative of the square root at 0 would be NaN.
        rate = jnp.sqrt(jnp.where(moving, square, 1.0)) / self.labels.shape[0]
        loss = jnp.mean(jnp.where(unfitted, self.labels**2, 0.0)) / 2.0
        return {
            "losses": loss,
            "plateau_exponents": exponent,
            "plateau_rates": jnp.where(moving, rate, 0.0),
        }


class _State(eqx.Module):
    time: Scalar
    exponent: PerNeuron
    unfitted: Bool[Array, " samples"]
    waiting: Bool[Array, " neurons"]
    process: LimitProcess


@eqx.filter_jit
def _jumps(net: Network, data: Dataset, exponent: PerNeuron) -> LimitProcess:
    mask = masks(net, data)
    problem = _Problem(mask, jnp.sign(net.output), data.x, data.y, lengths(data))
    unfitted, waiting = data.y != 0.0, jnp.ones(net.neurons, bool)
    none = _empty(min(net.neurons, data.samples), net.neurons, data.samples, data.dim)
    none = eqx.tree_at(
        lambda p: (p.unfittable, p.idle),
        none,
        (unfitted & ~jnp.any(mask, axis=0), ~jnp.any(mask, axis=1)),
    )
    none = _written(none, problem.plateau(waiting, unfitted, exponent), 0)
    begin = _State(jnp.zeros(()), exponent, unfitted, waiting, none)

    def goes_on(state: _State):
        return jnp.any(state.process.plateau_rates[state.process.num_jumps] > 0.0)

    return _padded(jax.lax.while_loop(goes_on, lambda s: _jump(problem, s), begin).process)


def _jump(problem: _Problem, state: _State) -> _State:
    done, i = state.process, state.process.num_jumps
    rate = done.plateau_rates[i]
    moving = rate > 0.0
    wait = -state.exponent / jnp.where(moving, rate, 1.0)
    arrival = jnp.where(moving, state.time + wait, jnp.inf)
    first = jnp.argmin(arrival)
    time = arrival[first]
    # Neurons of the same mask that come later do not come at all: nothing is left for them.
    alike = jnp.all(problem.mask == problem.mask[first], axis=1) & state.waiting
    group = alike & (arrival <= time * (1.0 + _ROUNDING))
    gap = jnp.min(jnp.where(alike, jnp.inf, arrival)) - time
    fits = problem.mask[first] & state.unfitted
    unfitted, waiting = state.unfitted & ~fits, state.waiting & ~group
    exponent = state.exponent + jnp.where(moving, (time - state.time) * rate, 0.0)
    exponent = jnp.where(group, 0.0, exponent)
    effect = jnp.where(fits, problem.labels / problem.length**2, 0.0) @ problem.inputs
    size, sign = jnp.sqrt(jnp.linalg.norm(effect)), problem.sign[first]
    row = {
        "jump_times": time,
        "neuron": first,
        "group": group,
        "fits": fits,
        "squared_norms": 2.0 * size**2,
        "gaps": gap,
        "tied": gap <= _ROUNDING * time,
        "output": sign * size,
        "hidden": sign * effect / size,
    }
    done = _written(done, row, i)
    done = _written(done, problem.plateau(waiting, unfitted, exponent), i + 1)
    done = eqx.tree_at(lambda p: p.num_jumps, done, i + 1)
    return _State(time, exponent, unfitted, waiting, done)


def _empty(jumps: int, neurons: int, samples: int, dim: int) -> LimitProcess:
    return LimitProcess(
        num_jumps=jnp.array(0),
        jump_times=jnp.full(jumps, jnp.inf),
        neuron=jnp.full(jumps, -1),
        group=jnp.zeros((jumps, neurons), bool),
        fits=jnp.zeros((jumps, samples), bool),
        squared_norms=jnp.zeros(jumps),
        losses=jnp.zeros(jumps + 1),
        gaps=jnp.full(jumps, jnp.inf),
        tied=jnp.zeros(jumps, bool),
        unfittable=jnp.zeros(samples, bool),
        idle=jnp.zeros(neurons, bool),
        output=jnp.zeros(jumps),
        hidden=jnp.zeros((jumps, dim)),
        plateau_exponents=jnp.zeros((jumps + 1, neurons)),
        plateau_rates=jnp.zeros((jumps + 1, neurons)),
    )


def _written(process: LimitProcess, row: dict, i) -> LimitProcess:
    names = list(row)
    return eqx.tree_at(
        lambda p: [getattr(p, name) for name in names],
        process,
        [getattr(process, name).at[i].set(row[name]) for name in names],
    )


def _padded(process: LimitProcess) -> LimitProcess:
    """Plateaus beyond the last are the last, rather than zeros."""
    last = jnp.minimum(jnp.arange(process.losses.shape[0]), process.num_jumps)
    names = ("losses", "plateau_exponents", "plateau_rates")
    return eqx.tree_at(
        lambda p: [getattr(p, name) for name in names],
        process,
        [getattr(process, name)[last] for name in names],
    )


def _check_network(net: Network, data: Dataset) -> None:
    check_paper_pair(net, data)
    if is_concrete(net.output) and is_concrete(net.hidden):
        size = np.linalg.norm(np.asarray(net.hidden), axis=1)
        small = np.flatnonzero(np.abs(np.asarray(net.output)) < size * (1.0 - 1e-12))
        if len(small):
            raise ValueError(
                "Argument `net` must have |a_j| >= |w_j| for every neuron, but neuron "
                f"{small[0]} has not: its a_j may change sign, and the limit is not known. "
                "Start from a network the flow has reached after a short time."
            )


def _checked_exponents(value, neurons: int) -> PerNeuron:
    exponent = as_float64("initial_exponents", value)
    if exponent.shape != (neurons,):
        raise ValueError(
            f"Argument `initial_exponents` must have shape ({neurons},), one per neuron, but it "
            f"has shape {exponent.shape}."
        )
    check_finite("initial_exponents", exponent)
    if is_concrete(exponent) and not bool(jnp.all(exponent < 0.0)):
        raise ValueError("Argument `initial_exponents` must be negative, but it is not everywhere.")
    return exponent

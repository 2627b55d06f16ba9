"""Algorithm 1 of the 2026 paper, which finds the limit of the flow without integrating it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

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
    mask, exponent = masks(net, data), _exponents(initial_exponents, net.neurons)
    return _process(_Problem(mask, data.y, lengths(data)), data.x, exponent)


def limit_process_of_masks(mask, labels, *, initial_exponents=None) -> LimitProcess:
    """Algorithm 1 for orthonormal inputs that nobody has to store: from M and y alone.

    The inputs are the basis, dim = samples: `saddles` are networks on the identity. A sample costs
    one flag of each neuron, so that 2^19 samples take no matrix of inputs.

    Arguments:
        mask: (neurons, samples), M_jk = [<w_j, x_k> > 0 and a_j y_k > 0], as by `theory.masks`:
            each neuron has samples of one sign alone.
        labels: (samples,)
        initial_exponents: as of `limit_process`.

    Raises:
        ValueError: shapes that do not match, a neuron that fits labels of both signs or a label 0;
            where these values are concrete.

    Source: 2026 paper, section 3, eq. 8 to 15 and Algorithm 1.
    """
    mask, labels = _checked_masks(mask, labels)
    exponent = _exponents(initial_exponents, mask.shape[0])
    return _process(_Problem(mask, labels, jnp.ones_like(labels)), None, exponent)


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

    def weights(self, fits, inputs: Inputs | None) -> dict:
        """What the neuron of each jump becomes: of e = a w, on the inputs or in their basis."""
        square = jnp.sum(jnp.where(fits, (self.labels / self.length) ** 2, 0.0), axis=1)
        happened = square > 0.0  # two selections, as above
        size = jnp.where(happened, square, 1.0) ** 0.25  # |e|^(1/2)
        part = jnp.where(fits, self.labels / self.length**2, 0.0)
        sign = jnp.sign(jnp.sum(part, axis=1))  # of a_j, which is that of all labels it fits
        effect = part if inputs is None else part @ inputs
        return {
            "squared_norms": jnp.where(happened, 2.0 * size**2, 0.0),
            "output": sign * size,
            "hidden": (sign / size)[:, None] * effect,
        }


class _State(eqx.Module):
    time: Scalar
    exponent: PerNeuron
    unfitted: Bool[Array, " samples"]
    waiting: Bool[Array, " neurons"]
    num_jumps: Int[Array, ""]
    rows: dict[str, Array]  # fields of `LimitProcess`, one entry a jump or a plateau


@eqx.filter_jit
def _process(problem: _Problem, inputs: Inputs | None, exponent: PerNeuron) -> LimitProcess:
    mask = problem.mask
    neurons, samples = mask.shape
    unfitted, waiting = problem.labels != 0.0, jnp.ones(neurons, bool)
    plateau = problem.plateau(waiting, unfitted, exponent)
    rows = _written(_empty(min(neurons, samples), neurons, samples), plateau, 0)
    begin = _State(jnp.zeros(()), exponent, unfitted, waiting, jnp.array(0), rows)

    def goes_on(state: _State):
        return jnp.any(state.rows["plateau_rates"][state.num_jumps] > 0.0)

    end = jax.lax.while_loop(goes_on, lambda state: _jump(problem, state), begin)
    return LimitProcess(
        num_jumps=end.num_jumps,
        unfittable=unfitted & ~jnp.any(mask, axis=0),
        idle=~jnp.any(mask, axis=1),
        **_padded(end.rows, end.num_jumps),
        **problem.weights(end.rows["fits"], inputs),
    )


def _jump(problem: _Problem, state: _State) -> _State:
    i = state.num_jumps
    rate = state.rows["plateau_rates"][i]
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
    row = {
        "jump_times": time,
        "neuron": first,
        "group": group,
        "fits": fits,
        "gaps": gap,
        "tied": gap <= _ROUNDING * time,
    }
    rows = _written(state.rows, row, i)
    rows = _written(rows, problem.plateau(waiting, unfitted, exponent), i + 1)
    return _State(time, exponent, unfitted, waiting, i + 1, rows)


def _empty(jumps: int, neurons: int, samples: int) -> dict[str, Array]:
    return {
        "jump_times": jnp.full(jumps, jnp.inf),
        "neuron": jnp.full(jumps, -1),
        "group": jnp.zeros((jumps, neurons), bool),
        "fits": jnp.zeros((jumps, samples), bool),
        "gaps": jnp.full(jumps, jnp.inf),
        "tied": jnp.zeros(jumps, bool),
        "losses": jnp.zeros(jumps + 1),
        "plateau_exponents": jnp.zeros((jumps + 1, neurons)),
        "plateau_rates": jnp.zeros((jumps + 1, neurons)),
    }


def _written(rows: dict[str, Array], row: dict, i) -> dict[str, Array]:
    return rows | {name: rows[name].at[i].set(value) for name, value in row.items()}


def _padded(rows: dict[str, Array], num_jumps) -> dict[str, Array]:
    """Plateaus beyond the last are the last, rather than zeros."""
    last = jnp.minimum(jnp.arange(rows["losses"].shape[0]), num_jumps)
    names = ("losses", "plateau_exponents", "plateau_rates")
    return rows | {name: rows[name][last] for name in names}


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


def _checked_masks(mask, labels) -> tuple[UnitFlags, Labels]:
    labels = as_float64("labels", labels)
    mask = mask if isinstance(mask, jax.Array) else np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 2:
        raise ValueError(
            "Argument `mask` must be flags of shape (neurons, samples), but it is of dtype "
            f"{mask.dtype} and shape {mask.shape}."
        )
    if labels.shape != mask.shape[1:]:
        raise ValueError(
            f"Argument `labels` must have shape {mask.shape[1:]}, one per sample of `mask`, but it "
            f"has shape {labels.shape}."
        )
    check_finite("labels", labels)
    if is_concrete(mask) and is_concrete(labels):
        flags, y = np.asarray(mask), np.asarray(labels)
        bad = np.any(flags & (y == 0.0), axis=1)
        bad |= np.any(flags & (y > 0.0), axis=1) & np.any(flags & (y < 0.0), axis=1)
        if bad.any():
            raise ValueError(
                "Argument `mask` must give each neuron samples whose labels have one sign, but "
                f"neuron {np.argmax(bad)} has others."
            )
    return jnp.asarray(mask), labels


def _exponents(value, neurons: int) -> PerNeuron:
    if value is None:
        return -jnp.ones(neurons)
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

"""When neurons jump: from the size of the start to that of the labels."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ._trajectory import networks, saved_times

# A squared norm below this part of the largest |y_k| / |x_k| is of a neuron that has not jumped.
# One that has jumped fits some label, for which it needs at least twice its |y_k| / |x_k|.
_SMALL = 5e-7
_BISECTIONS = 50


class Jump(NamedTuple):
    """neurons: one, or those of a group; time: when half of its last squared norm is there;
    squared_norm: a^2 + |w|^2 at the last save, summed over the group."""

    neurons: tuple[int, ...]
    time: float
    squared_norm: float


def jumps(sol: Solution, groups: Iterable[Sequence[int]] | None = None) -> list[Jump]:
    """The neurons that have grown large, in the order of the times at which they did.

    A neuron jumps when a_j^2 + |w_j|^2 first comes to half of what it is at the last save: in a
    small flow it is a power of lambda before, and the same for good soon after. Those that stay
    small beside the labels do not jump, nor do those that have that half at the first save.

    Times are exact where the solution is dense, `SaveAt(t0=True, steps=True, dense=True)`. Without
    dense output ln(a_j^2 + |w_j|^2) is a straight line between saves.

    Arguments:
        sol: a single trajectory, with the networks at its saves.
        groups: neurons that count as one, such as those of equal `theory.masks`, which share what
            they fit as their directions happen to be. Each neuron for itself where not given.

    Raises:
        ValueError: several trajectories at once, saves that are no networks, or groups that are
            not of different neurons.
    """
    nets, kept = networks(sol), saved_times(sol)
    ts, squares = np.asarray(sol.ts)[kept], np.asarray(_log_squares(nets))[kept]
    together = _checked(groups, squares.shape[1])
    if not together:
        return []
    whole = _summed(squares, together)
    goal = whole[-1] - np.log(2.0)
    after = np.argmax(whole >= goal, axis=0)
    (grown,) = np.nonzero((after > 0) & (whole[-1] > np.log(_SMALL) + _log_scale_of(sol.data)))
    if not len(grown):
        return []
    together, whole = [together[i] for i in grown], whole[:, grown]
    after, goal = after[grown], goal[grown]
    if sol.interpolation is None:
        times = _between(ts, whole, after, goal)
    else:
        times = _located(sol, ts[after - 1], ts[after], together, goal)
    order = np.lexsort((-whole[-1], times))  # of equal times the largest first
    return [Jump(together[i], float(times[i]), float(np.exp(whole[-1, i]))) for i in order]


def _log_squares(nets: Network) -> Float[Array, "*time neurons"]:
    """ln(a_j^2 + |w_j|^2)."""
    return 2.0 * nets.log_scale + jnp.log(nets.output**2 + jnp.sum(nets.hidden**2, axis=-1))


def _summed(squares: np.ndarray, groups: list[tuple[int, ...]]) -> np.ndarray:
    """The logarithm of the sum over each group, shape (time, groups)."""
    sums = [np.logaddexp.reduce(squares[:, list(group)], axis=1) for group in groups]
    return np.stack(sums, axis=1)


def _log_scale_of(data: Dataset) -> float:
    """ln max |y_k| / |x_k|; -inf where every label is 0."""
    length = np.linalg.norm(np.asarray(data.x), axis=1)
    sizes = np.abs(np.asarray(data.y))[length > 0.0] / length[length > 0.0]
    with np.errstate(divide="ignore"):
        return float(np.log(np.max(sizes, initial=0.0)))


def _between(ts, whole, after, goal) -> np.ndarray:
    """On the straight line between two saves."""
    groups = np.arange(whole.shape[1])
    low, high = whole[after - 1, groups], whole[after, groups]
    share = np.where(np.isfinite(low), (goal - low) / (high - low), 1.0)
    return ts[after - 1] + share * (ts[after] - ts[after - 1])


def _located(sol: Solution, low, high, groups, goal) -> np.ndarray:
    """By bisection inside the step, with the dense output."""
    # Of one length whatever the groups are, since each length is compiled.
    times = np.full(sol.final.neurons, high[-1])
    for _ in range(_BISECTIONS):
        times[: len(groups)] = middle = 0.5 * (low + high)
        squares = np.asarray(_log_squares_at(sol, times))
        now = np.array(
            [np.logaddexp.reduce(squares[i, list(group)]) for i, group in enumerate(groups)]
        )
        low, high = np.where(now < goal, middle, low), np.where(now < goal, high, middle)
    return 0.5 * (low + high)


@eqx.filter_jit
def _log_squares_at(sol: Solution, times) -> jax.Array:
    return _log_squares(sol.evaluate(times))


def _checked(groups, neurons: int) -> list[tuple[int, ...]]:
    if groups is None:
        return [(j,) for j in range(neurons)]
    found = [tuple(int(j) for j in group) for group in groups]
    everyone = [j for group in found for j in group]
    if not all(found) or not set(everyone) <= set(range(neurons)):
        raise ValueError(
            f"Argument `groups` must hold indices of the {neurons} neurons, none of them empty, "
            f"but it is {found}."
        )
    if len(set(everyone)) < len(everyone):
        raise ValueError(f"Argument `groups` must hold no neuron twice, but it is {found}.")
    return found

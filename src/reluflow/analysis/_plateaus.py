"""Plateaus of the loss: the saddles that a trajectory passes, and when it leaves each."""

from typing import NamedTuple

import numpy as np

from .._integration._solution import Solution, saved

# The relative rate on a plateau is at least this many times slower than in the drops around it.
_SLOWER = 10.0
# Two plateaus differ by at least this share of the loss: what lies closer is one plateau, along
# which single neurons still move.
DROP = 0.01
# Rates are compared down to this fraction of the fastest: below it, all is standing still (a
# loss that is constant to rounding has rate 0, whose logarithm does not exist).
_STILL = 1e-3
# Below this fraction of the first loss, residuals are 1e-6 of the labels: near the errors that
# an integrator leaves, where the rate of decay is noise and no longer the flow's.
FLOOR = 1e-12
# On a plateau less than this share of the loss falls while the rate is within `_SLOW` of its
# slowest. Beside a saddle the rate is c cosh(k t), and that share 2 sqrt(3) c / k; in the logistic
# drop after it the rate reaches k / 4 at most, so that one ten times faster than c leaves 9%. An
# exponential decay falls on and on at one rate.
_SLOW = 2.0
_FALLS = 0.1
# The shares of a drop after which a plateau counts as left, and the next one as reached.
LEFT = 0.1
REACHED = 0.95


class Plateau(NamedTuple):
    """A stretch of a trajectory along which the loss almost stands still.

    Fields, in the papers' normalisation:
        loss: L where it falls the slowest, relative to itself.
        start: the time at which 95% of the fall to `loss` is done; t0 for the first plateau.
        end: the time at which it is left: a tenth of the fall to the next plateau is done; inf if
            the run ends before. After the last the fall is taken to lead to 0: where it leads in
            truth, a run that is too short does not know.
        half: the time at which half of that fall is done, which is sharper; or inf.
    """

    loss: float
    start: float
    end: float
    half: float


def plateaus(sol: Solution) -> list[Plateau]:
    """The plateaus of one trajectory, from its saved losses.

    The relative rate rho = -d ln L / dt, by differences between saved times, goes up and down
    once for each drop of the loss. A plateau is a minimum of rho that is at least ten times
    below the maxima on both of its sides (the start of the run counts as a maximum, and so does
    its end where the rate rose tenfold since), whose losses are 1% apart, and along which the
    loss stands still: less than a tenth of it falls while rho is within twice its minimum. These
    three are the only choices: stretches less marked are not called plateaus. An exponential
    approach to loss 0 is none, nor is one that begins fast and goes on slowly, as a sum of
    exponentials does; being stuck at a positive loss is one, with end = inf.

    The saves must resolve the drops: times are found by cubic interpolation of ln L.
    """
    kept = saved(sol)
    ts, losses = np.asarray(sol.ts), np.asarray(sol.losses)
    # A flow's loss never increases, but for errors, and these are not features.
    ts, losses = ts[kept], np.minimum.accumulate(losses[kept])
    if len(ts):
        above = losses > FLOOR * losses[0]
        ts, losses = ts[above], losses[above]
    if len(ts) < 3:
        return []
    rate = -np.diff(np.log(losses)) / np.diff(ts)
    if rate.max() <= 0.0:
        return [Plateau(float(losses[0]), float(ts[0]), np.inf, np.inf)]
    height = np.log(np.maximum(rate, _STILL * rate.max()))
    minima = _merge(_minima(height, rate, np.log(_SLOWER)), losses, rate)
    return _describe(ts, losses, _standing_still(minima, losses, rate))


def _minima(height: np.ndarray, rate: np.ndarray, prominence: float) -> list[tuple[int, bool]]:
    """Minima that are `prominence` below both sides: (index, whether the height rises after).

    One pass that turns round only once the height has moved by `prominence` against the
    direction in which it was going. Where the height is cut off below, the rate decides.
    """
    minima, falling = [], True
    low = high = 0
    for index, value in enumerate(height):
        if falling:
            if (value, rate[index]) < (height[low], rate[low]):
                low = index
            elif value - height[low] >= prominence:
                minima.append((low, True))
                falling, high = False, index
        elif value > height[high]:
            high = index
        elif height[high] - value >= prominence:
            falling, low = True, index
    # The run ends on a plateau, if it fell to it from something.
    if falling and height[high] - height[low] >= prominence:
        minima.append((low, False))
    return minima


def _merge(minima, losses: np.ndarray, rate: np.ndarray) -> list[tuple[int, bool]]:
    """One plateau, at the slowest place, of those whose losses are less than 1% apart."""
    merged = []
    for index, left in minima:
        if merged and losses[index] > (1.0 - DROP) * losses[merged[-1][0]]:
            slowest = min(merged[-1][0], index, key=lambda i: rate[i])
            merged[-1] = (slowest, left)
        else:
            merged.append((index, left))
    return merged


def _standing_still(minima, losses: np.ndarray, rate: np.ndarray) -> list[tuple[int, bool]]:
    """Those along which the loss does; see `_SLOW`."""
    fall = -np.diff(np.log(losses))
    between = [0, *(index for index, _ in minima), len(rate)]
    kept = []
    for place, (index, left) in enumerate(minima, start=1):
        # From the fastest before it to the fastest after it.
        first = between[place - 1] + int(np.argmax(rate[between[place - 1] : index + 1]))
        last = index + int(np.argmax(rate[index : between[place + 1]])) if left else len(rate)
        slow = rate[first:last] <= _SLOW * rate[index]
        if np.sum(fall[first:last], where=slow) <= _FALLS:
            kept.append((index, left))
    return kept


def _describe(ts, losses, slowest) -> list[Plateau]:
    levels = [float(losses[index]) for index, _ in slowest]
    found = []
    for i, (index, left) in enumerate(slowest):
        start, end, half = float(ts[0]), np.inf, np.inf
        if i > 0:
            before = levels[i - 1]
            start = time_at(ts, losses, before + REACHED * (levels[i] - before))
        elif losses[index] < (1.0 - DROP) * losses[0]:
            start = time_at(ts, losses, losses[0] + REACHED * (levels[0] - losses[0]))
        if left:
            after = levels[i + 1] if i + 1 < len(levels) else 0.0
            end = time_at(ts, losses, levels[i] + LEFT * (after - levels[i]))
            half = time_at(ts, losses, 0.5 * (levels[i] + after))
        found.append(Plateau(levels[i], start, end, half))
    return found


def time_at(ts: np.ndarray, losses: np.ndarray, level: float) -> float:
    """When the loss, which never increases, first falls to `level`.

    On the cubic through ln L at the four saves around it, which is smooth between events; a
    straight line would be off by a tenth of the distance between saves.
    """
    index = int(np.argmax(losses <= level))
    if index == 0:
        return float(ts[0]) if losses[0] <= level else np.inf
    first = min(max(index - 2, 0), max(len(ts) - 4, 0))
    nodes, heights = ts[first : first + 4], np.log(losses[first : first + 4] / level)
    middle, unit = ts[index - 1], ts[index] - ts[index - 1]
    cubic = np.polynomial.Polynomial.fit((nodes - middle) / unit, heights, len(nodes) - 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        guess = 0.5 * (low + high)
        low, high = (guess, high) if cubic(guess) > 0.0 else (low, guess)
    return float(middle + unit * high)

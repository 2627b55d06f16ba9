"""What is known of a run before it: when the first neuron is large, and how long the story takes.

A neuron of size lambda grows as e^{|D| t}, D = 1/n sum_{active} y_k x_k, until it is of size 1: at
t = ln(1/lambda) / |D|. For orthogonal inputs the times of all later neurons follow too (2026,
Algorithm 1).
"""

import math
from typing import NamedTuple

import numpy as np

from .. import theory
from .._activation import is_relu
from .._dataset import Dataset
from .._loss import loss as loss_of
from .._losses import AbstractLoss, square
from .._network import Network
from ._experiments import Experiment

_STEP, _STEPS, _CHECK = 0.25, 1000, 10  # of the early phase, in units of 1 / its largest rate
# It is over when neurons have turned to where they grow, which takes a few 1 / their rate, and the
# forecast changes no more between two checks, relative to itself.
_TURNED, _CONVERGED = 8.0, 3e-3
# How much later the second sign can be, beside the first: once the first has fitted its labels, the
# second has more to do than this forecast knows.
_LATEST = 3.0
# A jump from a loss below this part of the first one is left out: nobody sees it in a picture, and
# for random labels some are 100 times as late as all others.
_SEEN = 1e-2
# After the last jump: in units of 1 / its rate, in which the loss falls by e^-20; and, where it is
# late, this part of its time, so that a picture has room for what comes after it.
_SETTLED, _ROOM = 6.0, 0.2


class Forecast(NamedTuple):
    """first_growth: when the first neuron is of size 1; 0 where one is at the start, inf where none
    grows. t1: until when the whole story is told."""

    first_growth: float
    t1: float


def forecast(
    experiment: Experiment, net: Network, data: Dataset, loss: AbstractLoss = square
) -> Forecast:
    growths = early_growths(net, data, loss)
    first, rate = min(growths)[0], max(rate for _, rate in growths)
    as_in_papers = is_relu(net.activation) and loss == square
    orthogonal = as_in_papers and data.is_orthogonal()
    fastest = _fastest(net, data, _first_residual(data, loss))
    settling = (_SETTLED if orthogonal else experiment.settling) / (rate or fastest)
    if math.isinf(first):
        last = 0.0
    elif first == 0.0:
        last, lazy = 0.0, _lazy_time(net, data) if as_in_papers else math.inf
        settling = min(settling, lazy)
    elif orthogonal:
        last, jump = _last_jump(net, data)
        settling = max(_SETTLED / jump, _ROOM * last) if jump else settling
    else:
        later = max(time for time, _ in growths if math.isfinite(time))
        last = experiment.growths * min(later, _LATEST * first)
    return Forecast(first, float(f"{last + settling:.2g}"))  # a number that steps of descent divide


def _lazy_time(net: Network, data: Dataset) -> float:
    """Of a large start, which has no neuron to wait for and converges as its kernel does: until the
    loss is e^{-2 _SETTLED} of the labels'."""
    kernel = float(theory.kernel_flow(net, data).eigenvalues[0])
    if not kernel > 0.0:
        return math.inf
    above = float(loss_of(net, data)) / max(float(np.mean(np.asarray(data.y) ** 2)) / 2.0, 1e-300)
    return (_SETTLED + max(0.5 * math.log(max(above, 1.0)), 0.0)) / kernel


def early_growths(
    net: Network, data: Dataset, loss: AbstractLoss = square
) -> list[tuple[float, float]]:
    """(time, rate) for the neurons of a > 0 and for those of a < 0: when the first of them is of
    size 1, with h = 0 until then, and how fast they grow; the time is inf where none does.

        a' = <D, w>,  w' = a D,   D = 1/n sum_k phi'(<w, x_k>) r_k x_k,

    with r = -l'(0, y), which is y under the square loss, in small steps of constant D, with the
    size of each neuron apart, until the rates are known: from there on the logarithm of a size is a
    straight line.
    """
    x, residual = np.asarray(data.x), _first_residual(data, loss)
    pull = x * residual[:, None] / data.samples
    slopes = _slopes(net)
    fastest = _fastest(net, data, residual)
    a, w = np.array(net.output), np.array(net.hidden)
    groups = [group for group in (a > 0.0, a <= 0.0) if np.any(group)]
    log_size, a, w = _normalised(np.array(net.log_scale), a, w)
    step = _STEP / fastest
    arrival, found = np.where(log_size >= 0.0, 0.0, np.inf), None
    before = log_size
    for count in range(1, _STEPS + 1):
        log_size, a, w = _normalised(log_size, *_moved(a, w, step, x, pull, slopes))
        arrival = np.where((log_size >= 0.0) & np.isinf(arrival), count * step, arrival)
        if count % _CHECK == 0:
            # Over several steps, since a neuron that slides goes to and fro between two patterns.
            rate, before = _rate(before, log_size, _CHECK * step), log_size
            growing = rate > 1e-6 * fastest
            wait = np.where(growing, -log_size / np.where(growing, rate, 1.0), np.inf)
            expected = np.where(np.isfinite(arrival), arrival, count * step + wait)
            last, found = found, [_earliest(expected, rate, group) for group in groups]
            turned = count * step * max(rate for _, rate in found) >= _TURNED
            if turned and last is not None and _agree(last, found):
                break
    assert found is not None
    return found


def _earliest(times, rate, group) -> tuple[float, float]:
    first = int(np.argmin(np.where(group, times, np.inf)))
    return float(times[first]), max(float(np.max(rate[group])), 0.0)


def _agree(last, found) -> bool:
    """Up to what is too late to matter."""
    latest = _LATEST * min(found)[0]
    return all(
        min(time, latest) == min(before, latest) or abs(time - before) <= _CONVERGED * time
        for (before, _), (time, _) in zip(last, found, strict=True)
    )


def _normalised(log_size, a, w):
    """Each neuron with |(a, w)|^2 = 2, the size of a balanced one of |w| = 1; ln of the rest."""
    size = np.sqrt((a**2 + np.sum(w**2, axis=1)) / 2.0)
    with np.errstate(divide="ignore"):
        log_size = log_size + np.log(size)
    size = np.where(size > 0.0, size, 1.0)
    return log_size, a / size, w / size[:, None]


def _moved(a, w, step, x, pull, slopes):
    """By the exact flow of the pattern at the start of the step: (a, <u, w>) is boosted."""
    force = np.where(w @ x.T > 0.0, slopes[1], slopes[0]) @ pull
    norm = np.linalg.norm(force, axis=1)
    along = force / np.where(norm > 0.0, norm, 1.0)[:, None]
    before, cosh, sinh = np.sum(along * w, axis=1), np.cosh(norm * step), np.sinh(norm * step)
    after = a * sinh + before * cosh
    return a * cosh + before * sinh, w + (after - before)[:, None] * along


def _first_residual(data: Dataset, loss: AbstractLoss) -> np.ndarray:
    """-dl/dh at h = 0."""
    return np.asarray(loss.residual(np.zeros(data.samples), np.asarray(data.y)))


def _slopes(net: Network) -> tuple[float, float]:
    minus, plus = net.activation.slopes()
    return float(minus), float(plus)


def _fastest(net: Network, data: Dataset, residual: np.ndarray) -> float:
    """No neuron grows faster, under h = 0."""
    lengths = np.linalg.norm(np.asarray(data.x), axis=1)
    steepest = max(map(abs, _slopes(net)))
    return float(steepest * np.mean(lengths * np.abs(residual))) or 1.0


def _rate(before, after, time):
    """Of ln(size); 0 for a neuron that is nothing."""
    there = np.isfinite(after)
    return np.where(there, np.where(there, after, 0.0) - np.where(there, before, 0.0), 0.0) / time


def _last_jump(net: Network, data: Dataset) -> tuple[float, float]:
    """(time, rate) of the last neuron to jump in the limit process; (0, 0) where none does."""
    process = theory.limit_process(net, data)
    losses, count = np.asarray(process.losses), int(process.num_jumps)
    seen = [k for k in range(count) if losses[k] >= _SEEN * losses[0]]
    size = -float(np.max(np.asarray(net.log_scale)))
    if not seen or size <= 0.0:
        return 0.0, 0.0
    rate = float(process.plateau_rates[seen[-1], int(process.neuron[seen[-1]])])
    return size * float(process.jump_times[seen[-1]]), rate

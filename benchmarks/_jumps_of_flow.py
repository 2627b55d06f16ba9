"""The jumps of a flow on orthonormal inputs, measured, beside those of the limit process."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import numpy as np

import reluflow as rf
from reluflow import theory

JUMPED = 1e-6  # a squared norm; |theta_j|^2 of a jump is at least 2 min |y_k|
MAX_STEPS = 1024


class Problem(NamedTuple):
    name: str
    data: rf.Dataset
    net: rf.Network  # of log-scale 0

    def start(self, size: float) -> rf.Network:
        return eqx.tree_at(lambda n: n.log_scale, self.net, self.net.log_scale - size)


class Jump(NamedTuple):
    """Of neurons with one mask, as one: when half of their squared norm is there, and it."""

    neurons: frozenset[int]
    time: float
    squared_norm: float
    rate: float = np.nan  # at which it grew, by the limit process


class Flow(NamedTuple):
    """jumps: in the order of time. beside: at any of them, the largest ln|theta_j| of a neuron
    that has not jumped yet."""

    jumps: list[Jump]
    beside: float
    steps: int


def problems(shapes: dict) -> list[Problem]:
    """Haar inputs and N(0, 1) labels of both signs, Gaussian balanced neurons."""
    found = []
    for (samples, neurons), count in shapes.items():
        seed = 0
        while count:
            data = rf.datasets.orthonormal(jax.random.key(seed), samples)
            net = rf.balanced(jax.random.key(1000 + seed), neurons, samples, 0.0)
            seed += 1
            if np.ptp(np.sign(data.y)) == 2.0:
                found.append(Problem(f"n = {samples}, m = {neurons}, seed {seed - 1}", data, net))
                count -= 1
    return found


# The limit process


def predicted(problem: Problem, size: float) -> list[Jump]:
    process = theory.limit_process(problem.net, problem.data)
    return [
        Jump(
            frozenset(np.flatnonzero(process.group[i]).tolist()),
            float(process.jump_times[i]) * size,
            float(process.squared_norms[i]),
            float(process.plateau_rates[i, process.neuron[i]]),
        )
        for i in range(int(process.num_jumps))
    ]


def margin(problem: Problem) -> float:
    """-q of the largest other neuron at any jump: times ln(1/lambda), its e-folds below size 1.

    Of the second candidate, this is the gap of the two candidate times, times its rate.
    """
    process = theory.limit_process(problem.net, problem.data)
    waiting, least = np.ones(problem.net.neurons, bool), np.inf
    for i in range(int(process.num_jumps)):
        waiting &= ~np.asarray(process.group[i])
        others = np.asarray(process.plateau_exponents[i + 1])[waiting]
        least = min(least, -float(np.max(others, initial=-np.inf)))
    return least


# The flow


@eqx.filter_jit
def flow(net: rf.Network, data: rf.Dataset, t1) -> rf.Solution:
    """One compilation for a shape: traced inputs are not known to be orthogonal, hence 0."""
    saveat = diffrax.SaveAt(t0=True, steps=True, dense=True, fn=_log_squares)
    return rf.flow(
        net,
        data,
        t1,
        integrator=rf.Boost(max_sliding=0),
        rtol=1e-9,
        saveat=saveat,
        max_steps=MAX_STEPS,
        throw=False,
    )


@eqx.filter_jit
def _squares_at(sol: rf.Solution, times):
    return _log_squares(None, sol.evaluate(times), None)


def _log_squares(t, net, data):
    """ln(a_j^2 + |w_j|^2)."""
    return 2.0 * net.log_scale + jax.numpy.log(net.output**2 + (net.hidden**2).sum(-1))


def measured(problem: Problem, size: float) -> Flow:
    """What jumps, from ln(1/lambda) = `size` on. The end: long after the last jump.

    A neuron that jumps at rate v = |e|/n pulls its residuals to 0 at least at the rate
    a^2/n = v, and its jump is at s >= 1/v: 100 units of the last s are 100 e-folds.
    """
    last = predicted(problem, 1.0)[-1].time
    sol = flow(problem.start(size), problem.data, np.float64((size + 100.0) * last))
    if not bool(sol.result == rf.RESULTS.successful):
        raise RuntimeError(f"{problem.name}: {rf.RESULTS[sol.result]}")
    kept = np.isfinite(np.asarray(sol.ts))
    ts, squares = np.asarray(sol.ts)[kept], np.asarray(sol.networks)[kept]
    groups = _alike(problem)
    whole = np.stack([np.logaddexp.reduce(squares[:, g], axis=1) for g in groups], axis=1)
    times = _halves(sol, ts, whole, groups)
    order = [i for i in np.argsort(times) if whole[-1, i] > np.log(JUMPED)]
    jumps = [
        Jump(frozenset(groups[i]), float(times[i]), float(np.exp(whole[-1, i]))) for i in order
    ]
    return Flow(jumps, _beside(sol, jumps), int(sol.stats["num_steps"]))


def _beside(sol: rf.Solution, jumps: list[Jump]) -> float:
    times = np.full(sol.final.neurons, float(sol.stats["t_final"]))
    times[: len(jumps)] = [jump.time for jump in jumps]
    squares, waiting = np.array(_squares_at(sol, times)), np.ones(len(times), bool)
    largest = -np.inf
    for jump, now in zip(jumps, squares, strict=False):
        waiting[list(jump.neurons)] = False
        largest = max(largest, 0.5 * np.max(now[waiting], initial=-np.inf))
    return float(largest)


def _alike(problem: Problem) -> list[list[int]]:
    """Neurons by the samples that they can fit, from the signs at t = 0."""
    can = np.asarray(theory.masks(problem.net, problem.data))
    _, which = np.unique(can, axis=0, return_inverse=True)
    return [np.flatnonzero(which.ravel() == i).tolist() for i in range(which.max() + 1)]


def _halves(sol, ts, whole, groups) -> np.ndarray:
    """When each group first has half of its final squared norm: bisection inside a step."""
    goal = whole[-1] - np.log(2.0)
    after = np.maximum(np.argmax(whole >= goal, axis=0), 1)
    low, high = ts[after - 1], ts[after]
    for _ in range(50):
        middle = 0.5 * (low + high)
        # Padded to one length for all groupings: one compilation.
        times = np.full(sum(map(len, groups)), ts[-1])
        times[: len(middle)] = middle
        squares = np.asarray(_squares_at(sol, times))
        now = np.array([np.logaddexp.reduce(squares[i, g]) for i, g in enumerate(groups)])
        low, high = np.where(now < goal, middle, low), np.where(now < goal, high, middle)
    return 0.5 * (low + high)

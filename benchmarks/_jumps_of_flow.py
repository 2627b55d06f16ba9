"""The jumps of a flow on orthonormal inputs, measured, beside those of the limit process."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import numpy as np

import reluflow as rf
from reluflow import analysis, theory

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
    saveat = diffrax.SaveAt(t0=True, steps=True, dense=True)
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
    """ln(a_j^2 + |w_j|^2)."""
    net = sol.evaluate(times)
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
    found = analysis.jumps(sol, _alike(problem))
    jumps = [Jump(frozenset(jump.neurons), jump.time, jump.squared_norm) for jump in found]
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

"""Rows of `boost.py` that compare wall times on the problems of two points, and compilation."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _boost_counts import LONG_ENOUGH
from _common import Errors, Weights, cases, timed
from _report import DESCENT, Point, cost_at, curve, descent_order
from _targets import Row, checked, compiled, final_error, final_weights
from vmap_cost import Lane, cost

import reluflow as rf

BOOST, RUNGE_KUTTA = "rf.Boost", "rf.RungeKutta"
PLAIN_DESCENT = "gradient descent by jax.grad"
ERROR = 1e-6
_LN10 = float(np.log(10.0))
_STEP = 1e-3  # of the gradient descent in the papers' experiments
_ROUNDS = 20  # of runs of a few milliseconds, whose times scatter by half and more


class Trial(NamedTuple):
    """A run to be timed. read: its output -> the weights where it ended."""

    method: str
    setting: float
    call: Callable
    read: Callable[..., Weights]


def flows(method: str, run, net, t1, tolerances) -> Iterable[Trial]:
    """By `run`, of `compiled`."""
    for rtol in tolerances:
        yield Trial(method, rtol, partial(run, net, rtol, t1), final_weights)


def descents(data, net, t1, steps) -> Iterable[Trial]:
    """Jitted as a whole, with its checks."""
    for step in steps:
        run = jax.jit(
            partial(
                rf.descent,
                data=data,
                optimiser=optax.sgd(step),
                steps=round(t1 / step),
                throw=False,
            )
        )
        yield Trial(DESCENT, step, partial(run, net), final_weights)


def plain_descent(net: rf.Network, data: rf.Dataset, step: float, steps: int):
    """(a, w) by the loop that one would write with optax; `rf.descent` has its gradient by hand."""
    optimiser, weights = optax.sgd(step), net.weights()

    def loss(weights):
        a, w = weights
        return jnp.mean((data.y - a @ jax.nn.relu(w @ data.x.T)) ** 2) / 2.0

    def update(_, carry):
        weights, state = carry
        change, state = optimiser.update(jax.grad(loss)(weights), state)
        return optax.apply_updates(weights, change), state

    return jax.lax.fori_loop(0, steps, update, (weights, optimiser.init(weights)))[0]


def plain_descents(data, net, t1, steps) -> Iterable[Trial]:
    for step in steps:
        run = jax.jit(partial(plain_descent, data=data, step=step, steps=round(t1 / step)))

        def read(weights) -> Weights:
            return Weights(*(np.asarray(leaf)[None] for leaf in weights))

        yield Trial(PLAIN_DESCENT, step, partial(run, net), read)


def measure(data, trials: list[Trial], exact: Weights, budget: float = 2.0) -> list[Point]:
    """Error and time of every trial; the first call of each compiles, and is not counted.

    budget: in seconds, after which a trial is not called again.
    """
    points = []
    runs = timed([trial.call for trial in trials], rounds=_ROUNDS, budget=budget)
    for trial, run in zip(trials, runs, strict=True):
        error = final_error(data, trial.read(run.output), exact)
        nothing = Errors(np.nan, np.nan)
        points.append(
            Point(trial.method, trial.setting, nothing, error, 0, run.best, run.first, "")
        )
    return points


def seconds_at(points: list[Point], method: str, error: float = ERROR) -> float:
    """Interpolated between the runs of a method; beyond its smallest step, that of descent is
    extrapolated by its measured order."""
    order = descent_order(points, "end") if method == DESCENT else None
    return cost_at(curve(points, method, "end", "seconds"), error, order)[0]


def describe(points: list[Point], method: str) -> str:
    """The runs of a method, for a note."""
    runs = [
        f"{p.setting:.0e}: {p.end.weights:.1e} in {_duration(p.seconds)}"
        for p in points
        if p.method == method
    ]
    return f"{method} " + ", ".join(runs)


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


# Two points: against rf.RungeKutta and gradient descent


def two_points(quick: bool) -> list[Row]:
    """To the end of both drops, and, for the equal error of descent, to the middle of the first."""
    sizes = {"1e-6": (6.0, None, 1.0), "1e-20": (20.0, 10.0, None)}
    if not quick:
        sizes |= {"1e-150": (150.0, 50.0, None), "1e-1000": (1000.0, None, 10.0)}
    data = rf.datasets.two_points()
    runs = {BOOST: compiled(data, rf.Boost()), RUNGE_KUTTA: compiled(data, rf.RungeKutta())}
    rows = []
    for name, (digits, over_descent, over_runge_kutta) in sizes.items():
        rows += _two_points_at(name, digits * _LN10, over_descent, over_runge_kutta, data, runs)
    return rows + _descent_at_equal_error(runs)


def _two_points_at(name, size, over_descent, over_runge_kutta, data, runs) -> list[Row]:
    net = rf.balanced(jax.random.key(0), 60, data.dim, -size)
    t1 = LONG_ENOUGH * size
    tolerances = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    trials = list(flows(BOOST, runs[BOOST], net, t1, tolerances))
    if over_runge_kutta:
        trials += flows(RUNGE_KUTTA, runs[RUNGE_KUTTA], net, t1, (1e-3, 1e-5, 1e-7))
    if over_descent:
        trials += descents(data, net, t1, [_STEP])
        trials += plain_descents(data, net, t1, [_STEP])
    exact = final_weights(checked(runs[RUNGE_KUTTA](net, 1e-12, t1)))
    points = measure(data, trials, exact)
    rows, boost = [], seconds_at(points, BOOST)
    if over_runge_kutta:
        ratio = seconds_at(points, RUNGE_KUTTA) / boost
        note = f"at error {ERROR:g}; {describe(points, BOOST)}; {describe(points, RUNGE_KUTTA)}"
        rows.append(
            Row(f"lambda = {name}: {RUNGE_KUTTA} / {BOOST}", ratio, over_runge_kutta, True, note)
        )
    if over_descent:
        for method, bound in ((DESCENT, over_descent), (PLAIN_DESCENT, None)):
            [descent] = [point for point in points if point.method == method]
            note = f"{describe(points, method)}; {describe(points, BOOST)}"
            what = f"lambda = {name}: {method}, step {_STEP:g}, / {BOOST} at error {ERROR:g}"
            rows.append(Row(what, descent.seconds / boost, bound, True, note))
    return rows


def _descent_at_equal_error(runs) -> list[Row]:
    """Where an error of time shows: at the end, the flow has forgotten when its drops were."""
    case = cases()[0]
    data, net, t1 = case.data, case.net, case.middle
    trials = [
        *flows(BOOST, runs[BOOST], net, t1, (1e-4, 1e-5, 1e-6, 1e-7)),
        *descents(data, net, t1, (4e-3, 2e-3, _STEP)),
    ]
    exact = final_weights(checked(runs[RUNGE_KUTTA](net, 1e-12, t1)))
    points = measure(data, trials, exact)
    ratio = seconds_at(points, DESCENT) / seconds_at(points, BOOST)
    note = (
        f"to t = {t1:g}; extrapolated by the measured order {descent_order(points, 'end'):.2f}; "
        f"{describe(points, DESCENT)}; {describe(points, BOOST)}"
    )
    what = f"middle of the first drop, error {ERROR:g}: {DESCENT} / {BOOST}"
    return [Row(what, ratio, 10_000.0, True, note)]


# Under vmap


def _boost_lane(key, log_lambda, t1, batched: bool) -> Lane:
    data = rf.datasets.two_points()
    net = rf.balanced(key, 60, data.dim, log_lambda)
    sol = rf.flow(net, data, t1, integrator=rf.Boost(), rtol=1e-8, throw=False)
    good = sol.result == rf.RESULTS.successful
    return Lane(sol.stats["loss_final"], sol.stats["num_steps"], sol.stats["num_sweeps"], good)


def under_vmap(quick: bool) -> list[Row]:
    """The lanes of vmap_cost.py: two points, seeds x 4 lambdas, t1 = 100, rtol 1e-8."""
    found = cost(_boost_lane, 4 if quick else 64)
    lanes = found.lanes.loss.shape[0]
    steps = np.asarray(found.lanes.steps)
    note = (
        f"{_duration(found.together / lanes)} a lane, {_duration(found.alone / lanes)} alone; "
        f"attempted steps {steps.mean():.0f} in the mean, {steps.max()} at most"
    )
    return [
        Row(
            f"{lanes} lanes: time of a lane over the same alone",
            found.together / found.alone,
            1.0,
            note=note,
        ),
        Row("lanes that did not finish", int(np.sum(~np.asarray(found.lanes.good))), 0),
        Row("final losses, together and alone, differ by", found.difference),
    ]


# The first result


def compilation(quick: bool) -> list[Row]:
    """`reluflow run two-points` in a process of its own, from its start to its files: with nothing
    compiled before, and again with what that has kept."""
    rounds = []
    for _ in range(1 if quick else 2):
        with tempfile.TemporaryDirectory() as cache:
            rounds.append([_seconds_of_a_run(cache) for _ in range(2)])
    first, again = (min(each) for each in zip(*rounds, strict=True))
    note = f"best of {len(rounds)}"
    return [
        Row("reluflow run two-points, seconds to its files", first, 15.0, note=note),
        Row("the same again, with what it has compiled", again, note=note),
    ]


def _seconds_of_a_run(cache: str) -> float:
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "reluflow", "run", "two-points", "--out", out]
        begin = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, env={**env, "XDG_CACHE_HOME": cache}
        )
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return seconds

"""Error against cost: `rf.RungeKutta` beside what else one could use, all in one run.

    python benchmarks/work_precision.py [--quick]

    reluflow          rf.flow with Dopri8 and with Tsit5, over tolerances
    gradient descent  rf.descent with optax.sgd, over step sizes
    diffrax           diffrax.diffeqsolve that ignores the kinks
    diffrax + Event   diffrax.diffeqsolve restarted at every event, without sliding

The error is measured against an independent integrator (`tests/reference.py`: Taylor
series in extended precision), in the middle of the first drop of the loss and at the end. See
README.md.
"""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import diffrax
import jax
import numpy as np
import optax
from _baselines import Run, plain, restarted
from _common import Case, Weights, cases, environment, errors, reference, timed
from _report import DESCENT, EVENT, FLOW, PLAIN, Point, write

import reluflow as rf

jax.config.update("jax_enable_x64", True)

SOLVERS = {"Dopri8": diffrax.Dopri8(), "Tsit5": diffrax.Tsit5()}
TOLERANCES = tuple(10.0**-k for k in range(4, 13))
STEPS = (4e-2, 2e-2, 1e-2, 4e-3, 2e-3, 1e-3)
MAX_STEPS, MAX_RESTARTS = 30_000, 2_000


class Trial(NamedTuple):
    """A run to be timed. read: its output -> (weights at the case's times, evaluations, note)."""

    method: str
    setting: float
    call: Callable
    read: Callable


def flows(case: Case, tolerances) -> Iterable[Trial]:
    """`rf.flow`; one compilation a solver, whatever the tolerance."""

    def read(sol):
        return sol.networks.weights(), sol.stats["num_field_evaluations"], rf.RESULTS[sol.result]

    for name, solver in SOLVERS.items():
        integrator = rf.RungeKutta(solver)

        @jax.jit
        def run(net, rtol, times, integrator=integrator):
            return rf.flow(
                net,
                case.data,
                times[-1],
                rtol=rtol,
                integrator=integrator,
                saveat=diffrax.SaveAt(ts=times),
                throw=False,
            )

        for rtol in tolerances:
            yield Trial(f"{FLOW} {name}", rtol, partial(run, case.net, rtol, case.times), read)


def descents(case: Case, steps) -> Iterable[Trial]:
    """`rf.descent` with `optax.sgd`, saved in the middle of the drop, and at the end."""

    def read(sol):
        at = np.array([1, -1])
        assert np.allclose(sol.ts[at], case.times)
        found = jax.tree.map(lambda leaf: leaf[at], sol.networks.weights())
        return found, sol.stats["num_field_evaluations"], rf.RESULTS[sol.result]

    for step in steps:
        to_middle, to_end = round(case.middle / step), round(case.t1 / step)
        run = partial(
            rf.descent,
            case.net,
            case.data,
            optax.sgd(step),
            to_end,
            save_every=to_middle,
            throw=False,
        )
        yield Trial(DESCENT, step, run, read)


def loops(case: Case, tolerances, solvers) -> Iterable[Trial]:
    """`diffrax.diffeqsolve`, once, and in a loop over events."""

    def read(found: Run):
        return (found.a, found.w), found.evaluations, _stopped(case, found)

    kinds = {
        PLAIN: partial(plain, max_steps=MAX_STEPS),
        EVENT: partial(restarted, max_restarts=MAX_RESTARTS),
    }
    for method, baseline in kinds.items():
        for name in solvers:
            run = jax.jit(partial(baseline, data=case.data, solver=SOLVERS[name]))
            for rtol in tolerances:
                call = partial(run, case.net, rtol=rtol, times=case.times)
                yield Trial(f"{method} {name}", rtol, call, read)


def _stopped(case: Case, found: Run) -> str:
    if float(found.reached) >= case.t1:
        return ""
    if int(found.restarts) > 0:
        return f"stopped at {int(found.restarts)} restarts, t = {float(found.reached):.3g}"
    return f"stopped at {MAX_STEPS} attempts, t = {float(found.reached):.3g}"


def measure(case: Case, quick: bool) -> dict:
    """All points of one problem, and how far `rf.flow` at its tightest is from the reference."""
    exact, events = reference(case)
    tolerances = TOLERANCES[::4] if quick else TOLERANCES
    few = tolerances if quick else TOLERANCES[::2]
    trials = [
        *flows(case, tolerances),
        *descents(case, STEPS[::2] if quick else STEPS),
        *loops(case, few, ["Tsit5"] if quick else SOLVERS),
    ]
    points = []
    for trial, time in zip(trials, timed([trial.call for trial in trials]), strict=True):
        weights, evaluations, note = trial.read(time.output)
        middle, end = errors(case, Weights(*map(np.asarray, weights)), exact)
        points.append(
            Point(
                trial.method,
                trial.setting,
                middle,
                end,
                int(evaluations),
                time.best,
                time.first - time.best,
                note,
            )
        )
    saveat = diffrax.SaveAt(ts=case.times)
    sol = rf.flow(
        case.net, case.data, case.t1, integrator=rf.RungeKutta(), rtol=1e-13, saveat=saveat
    )
    floor = errors(case, Weights(*map(np.asarray, sol.networks.weights())), exact)
    return {
        "name": case.name,
        "neurons": case.net.neurons,
        "samples": case.data.samples,
        "middle": case.middle,
        "t1": case.t1,
        "events": events,
        "reference_difference": max(error.weights for error in floor),
        "points": points,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two points only, few settings")
    quick = parser.parse_args().quick
    found = environment()
    problems = []
    for case in cases()[: 1 if quick else None]:
        print(f"{case.name} ...", flush=True)
        problems.append(measure(case, quick))
    write("work_precision_quick" if quick else "work_precision", found, problems)


if __name__ == "__main__":
    main()

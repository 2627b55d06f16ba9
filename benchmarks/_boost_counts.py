"""Rows of `boost.py` that count: attempted steps and sweeps, at a measured error."""

import diffrax
import jax
import numpy as np
from _targets import Row, checked, compiled, final_error, final_weights, work

import reluflow as rf
from reluflow import analysis
from reluflow.theory import LimitProcess, limit_process

_LN10 = float(np.log(10.0))


def steps_of(sol: rf.Solution) -> int:
    return int(sol.stats["num_steps"])


# Any lambda at one price

# name -> ln(1/lambda), and how many times the steps at 1e-6 are allowed.
_SIZES = {
    "1e-6": (6.0 * _LN10, None),
    "1e-20": (20.0 * _LN10, None),
    "1e-150": (150.0 * _LN10, None),
    "1e-1000": (1000.0 * _LN10, 1.5),
    "e^-10000": (10_000.0, 2.0),
    "1e-10000": (10_000.0 * _LN10, 2.0),
}
# On two points the drops are at 0.9 and 1.8 ln(1/lambda): the rest is the approach to loss 0.
LONG_ENOUGH = 2.6
_TOLERANCES = tuple(10.0**-k for k in range(4, 11))
_ERROR = 1e-8
# rf.RungeKutta's steps grow with ln(1/lambda): it is the reference where it takes some seconds.
_REFERENCE_UP_TO = 1000.0 * _LN10


def any_lambda(quick: bool) -> list[Row]:
    """Two points, m = 60: the fewest attempted steps, over tolerances, with an error of 1e-8."""
    data = rf.datasets.two_points()
    run, reference = compiled(data, rf.Boost()), compiled(data, rf.RungeKutta())
    rows, base = [], np.nan
    for name, (size, allowed) in list(_SIZES.items())[: 3 if quick else None]:
        net = rf.balanced(jax.random.key(0), 60, data.dim, -size)
        t1 = LONG_ENOUGH * size
        tightest = checked(run(net, 1e-12, t1))
        exact = final_weights(tightest)
        if size <= _REFERENCE_UP_TO:
            exact = final_weights(checked(reference(net, 1e-12, t1)))
            apart = final_error(data, final_weights(tightest), exact).weights
            rows.append(
                Row(f"lambda = {name}: rf.Boost - rf.RungeKutta, both at 1e-12", apart, 1e-9)
            )
        loss = float(tightest.stats["loss_final"])
        rows.append(Row(f"lambda = {name}: final loss", loss, 1e-10))
        sols = [(rtol, checked(run(net, rtol, t1))) for rtol in _TOLERANCES]
        found = [(final_error(data, final_weights(s), exact).weights, r, s) for r, s in sols]
        steps, note = _fewest(found)
        base = steps if name == "1e-6" else base
        rows.append(Row(f"lambda = {name}: attempted steps at error {_ERROR:g}", steps, note=note))
        rows.append(Row(f"lambda = {name}: steps over those at 1e-6", steps / base, allowed))
    return rows


def _fewest(found) -> tuple[float, str]:
    good = [(steps_of(sol), rtol, error, sol) for error, rtol, sol in found if error <= _ERROR]
    if not good:
        error, rtol, sol = min(found, key=lambda one: one[0])
        return np.nan, f"least error {error:.1e}, at rtol {rtol:.0e}: {work(sol)}"
    steps, rtol, error, sol = min(good, key=lambda one: one[0])
    return steps, f"error {error:.1e} at rtol {rtol:.0e}: {work(sol)}"


# The limit process

_LOG = 10_000.0


def against_limit(quick: bool) -> list[Row]:
    """Orthonormal inputs, n = 16, m = 10, lambda = e^-10000; seeds with well separated jumps."""
    data = rf.datasets.orthonormal(jax.random.key(0), 16)
    saveat = diffrax.SaveAt(t0=True, steps=True, dense=True)
    run = compiled(data, rf.Boost(), saveat=saveat)
    rows = []
    for seed in (1, 2):
        net = rf.balanced(jax.random.key(seed), 10, data.dim, -_LOG)
        process = limit_process(net, data)
        last = float(process.jump_times[process.num_jumps - 1])
        # Half a unit of the clock after the last jump: as much as 5000 of the time.
        sol = checked(run(net, 1e-8, (last + 0.5) * _LOG))
        rows += _jump_rows(f"seed {seed}", sol, process)
    return rows


def _jump_rows(name: str, sol: rf.Solution, process: LimitProcess) -> list[Row]:
    happened = slice(0, int(process.num_jumps))
    who = np.asarray(process.neuron)[happened].tolist()
    final = 2.0 * np.exp(2.0 * np.asarray(sol.final.log_norm()))
    expected = np.zeros_like(final)
    expected[who] = process.squared_norms[happened]
    off = np.abs(final[who] / expected[who] - 1.0)
    idle = float(np.max(np.delete(final, who), initial=0.0))
    when = {jump.neurons[0]: jump.time for jump in analysis.jumps(sol)}
    order = list(when)
    same = sum(a == b for a, b in zip(order, who, strict=False))
    clocks = np.array([when.get(j, np.inf) for j in who]) / _LOG
    late = np.abs(clocks - process.jump_times[happened]) * _LOG
    # In units of the neuron's own growth: by how many e-folds of lambda the limit is off.
    folds = late * np.asarray(process.plateau_rates)[np.arange(len(who)), who]
    return [
        Row(f"{name}: attempted steps", steps_of(sol), 100, note=work(sol)),
        Row(f"{name}: relative error of a neuron's squared norm", float(np.max(off)), 1e-6),
        Row(f"{name}: largest squared norm of the others", idle, 1e-6),
        Row(
            f"{name}: jumps out of order",
            max(len(order), len(who)) - same,
            0,
            note=f"neurons {order}, limit process {who}",
        ),
        Row(
            f"{name}: jump times, e-folds of a neuron from the limit's",
            float(np.max(folds)),
            10,
            note=f"theory: O(1), here of {_LOG:g}",
        ),
    ]


# Events do not cut steps

_RTOL, _TIGHT = 1e-7, 1e-11
# (n, m) -> t1, at which the loss is below 1e-6.
_ORTHONORMAL = {(75, 200): 1500.0, (150, 400): 3000.0}


def orthonormal_problem(samples: int, neurons: int) -> tuple[rf.Dataset, rf.Network, float]:
    """(data, net, t1), lambda = 1e-20 / sqrt(m n)."""
    data = rf.datasets.orthonormal(jax.random.key(0), samples)
    log_lambda = -20.0 * _LN10 - 0.5 * np.log(neurons * samples)
    net = rf.balanced(jax.random.key(1), neurons, samples, log_lambda)
    return data, net, _ORTHONORMAL[samples, neurons]


def many_events(quick: bool) -> list[Row]:
    """Orthonormal inputs, n = 75 and 150; the reference is rf.flow at 1e-11."""
    rows, steps = [], []
    for samples, neurons in list(_ORTHONORMAL)[: 1 if quick else None]:
        data, net, t1 = orthonormal_problem(samples, neurons)
        run = compiled(data, rf.Boost())
        sol, exact = checked(run(net, _RTOL, t1)), checked(run(net, _TIGHT, t1))
        error = final_error(data, final_weights(sol), final_weights(exact)).weights
        steps.append(steps_of(sol))
        first = samples == 75
        rows += [
            Row(
                f"n = {samples}: attempted steps",
                steps[-1],
                50 if first else None,
                note=f"rtol {_RTOL:g}: {work(sol)}",
            ),
            Row(f"n = {samples}: sweeps", int(sol.stats["num_sweeps"]), 150 if first else None),
            Row(f"n = {samples}: final error", error, 1e-7),
            Row(
                f"n = {samples}: events that rf.flow at {_TIGHT:g} does not have",
                abs(int(sol.events.count) - int(exact.events.count)),
                0,
            ),
        ]
    if len(steps) > 1:
        rows.append(Row("steps at n = 150 over those at n = 75", steps[1] / steps[0], 1.2))
    return rows


def sliding(quick: bool) -> list[Row]:
    """Five points to t = 700; the reference is rf.RungeKutta at 1e-12."""
    data = rf.datasets.five_points()
    net = rf.balanced(jax.random.key(0), 60, data.dim, np.log(1e-6 / np.sqrt(60.0)))
    sol = checked(compiled(data, rf.Boost())(net, _RTOL, 700.0))
    exact = checked(compiled(data, rf.RungeKutta())(net, 1e-12, 700.0))
    error = final_error(data, final_weights(sol), final_weights(exact)).weights
    tally = ", ".join(f"{count} {kind}" for kind, count in sol.events.tally().items())
    return [
        Row("attempted steps", steps_of(sol), 120, note=f"rtol {_RTOL:g}: {work(sol)}"),
        Row("sweeps", int(sol.stats["num_sweeps"]), 400, note=tally),
        Row("final error", error, 1e-7),
        Row(
            "events that rf.RungeKutta does not have",
            abs(int(sol.events.count) - int(exact.events.count)),
            0,
        ),
    ]

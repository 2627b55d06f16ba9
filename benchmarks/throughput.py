"""Trajectories per second of `jax.jit(jax.vmap(rf.flow))`, by the number of lanes.

    python benchmarks/throughput.py [--lanes MOST]

Two points, 60 neurons, seeds x 4 sizes of the initialisation, float64, on the device that JAX
finds. Writes results/throughput-DEVICE.md and .json after every number of lanes; see README.md.
"""

import argparse
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import RESULTS, describe, environment, table, timed
from vmap_cost import NEURONS, RTOL, SCALES, T1, grid

import reluflow as rf
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

LANES = (1, 16, 256, 4096, 16384)
INTEGRATORS = {"rf.Boost": rf.Boost(), "rf.RungeKutta": rf.RungeKutta()}
LONGEST = 60.0  # seconds of one call: what would take longer is not measured


class Rate(NamedTuple):
    """One number of lanes: seconds of the fastest call, and what it did.

    difference: of the final weights from those of the first integrator, over the largest neuron of
    the lane, at most (NaN for the first).
    """

    lanes: int
    seconds: float
    compilation: float
    steps_mean: float
    steps_max: int
    finished: int
    difference: float

    @property
    def per_second(self) -> float:
        return self.lanes / self.seconds


class Compiled(NamedTuple):
    call: Any
    seconds: float


def batch(integrator):
    def lane(key, log_lambda, t1):
        data = rf.datasets.two_points()
        net = rf.balanced(key, NEURONS, data.dim, log_lambda)
        sol = rf.flow(net, data, t1, rtol=RTOL, integrator=integrator, throw=False)
        return sol.stats["num_steps"], sol.result == rf.RESULTS.successful, sol.final

    return jax.jit(jax.vmap(lane))


def compile_all(counts, arguments) -> dict[tuple[str, int], Compiled]:
    """For every integrator and number of lanes, side by side: XLA takes a core for each."""

    def compiled(lowered):
        begin = time.perf_counter()
        call = lowered.compile()
        return Compiled(call, time.perf_counter() - begin)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = {}
        for name, integrator in INTEGRATORS.items():
            for count in counts:
                lowered = batch(integrator).lower(*(leaf[:count] for leaf in arguments))
                found[name, count] = pool.submit(compiled, lowered)
        return {which: future.result() for which, future in found.items()}


def measure(compiled: Compiled, arguments, count: int, first: rf.Network | None):
    """(rate, final networks)"""
    call = partial(compiled.call, *(leaf[:count] for leaf in arguments))
    [run] = timed([call], rounds=5, budget=10.0)
    steps, good, final = run.output
    steps, good = np.asarray(steps), np.asarray(good)
    seconds = min(run.first, run.best)
    return Rate(
        count,
        seconds,
        compiled.seconds,
        steps.mean(),
        int(steps.max()),
        int(good.sum()),
        np.nan if first is None else _difference(final, first, good),
    ), final


def _difference(found: rf.Network, exact: rf.Network, good) -> float:
    """Of those lanes that got to their end."""

    def weights(net):
        log_scale, a, w = map(np.asarray, (net.log_scale, net.output, net.hidden))
        return np.exp(log_scale)[..., None] * np.concatenate([a[..., None], w], -1)

    theta, other = weights(found), weights(exact)
    size = np.linalg.norm(other, axis=-1).max(-1)
    return float(np.max((np.linalg.norm(theta - other, axis=-1).max(-1) / size)[good]))


def expected(rates: list[Rate], count: int) -> float:
    """Seconds, by the power of the number of lanes between the last two."""
    if len(rates) < 2:
        return 0.0
    few, many = rates[-2:]
    power = np.log(many.seconds / few.seconds) / np.log(many.lanes / few.lanes)
    return many.seconds * (count / many.lanes) ** power


def text(found, device: str, rates: dict[str, list[Rate]], markdown: bool) -> str:
    title = f"Throughput on {device}"
    lambdas = ", ".join(f"{scale:.0e}" for scale in SCALES)
    rows = []
    for name, measured in rates.items():
        cells = {
            "trajectories / s": [f"{rate.per_second:.4g}" for rate in measured],
            "seconds a call": [f"{rate.seconds:.3g}" for rate in measured],
            "compilation, s": [f"{rate.compilation:.0f}" for rate in measured],
            "steps, mean": [f"{rate.steps_mean:.1f}" for rate in measured],
            "steps, most": [f"{rate.steps_max}" for rate in measured],
            "finished": [f"{rate.finished}" for rate in measured],
            "weights, difference from the first": [
                f"{rate.difference:.1e}" for rate in measured if np.isfinite(rate.difference)
            ],
        }
        for what, values in cells.items():
            if values:
                rows.append([f"{name}: {what}", *values, *[""] * (len(LANES) - len(values))])
    return (
        "\n\n".join(
            [
                f"# {title}" if markdown else title,
                describe(found),
                f"two points, m = {NEURONS}, lambda = {lambdas}, rtol {RTOL:.0e}, t1 = {T1:g}; "
                "best of up to 6 calls after compilation. All programs were compiled side by side. "
                "Empty: not measured.",
                table(["lanes", *map(str, LANES)], rows, markdown),
            ]
        )
        + "\n"
    )


def write(found, device: str, rates: dict[str, list[Rate]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"throughput-{re.sub(r'[^a-z0-9]+', '-', device.lower())}"
    path.with_suffix(".md").write_text(text(found, device, rates, markdown=True))
    numbers = {name: [rate._asdict() for rate in measured] for name, measured in rates.items()}
    document = {"environment": found, "device": device, "rates": numbers}
    path.with_suffix(".json").write_text(json_text(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=int, default=max(LANES), help="measure no more than these")
    most = parser.parse_args().lanes
    if most < min(LANES):
        parser.error(f"--lanes must be at least {min(LANES)}, but it is {most}")
    found, device = environment(), jax.devices()[0].device_kind
    counts = [count for count in LANES if count <= most]
    arguments = grid(max(max(counts) // len(SCALES), 1))
    compiled = compile_all(counts, arguments)
    rates, finals = {name: [] for name in INTEGRATORS}, {}
    for count in counts:
        for name in INTEGRATORS:
            if len(rates[name]) < counts.index(count) or expected(rates[name], count) > LONGEST:
                continue  # fewer lanes took too long already
            rate, final = measure(compiled[name, count], arguments, count, finals.get(count))
            finals.setdefault(count, final)
            rates[name].append(rate)
            print(f"{name}, {count} lanes: {rate.per_second:.4g} per second", flush=True)
            write(found, device, rates)
    print(text(found, device, rates, markdown=False))


if __name__ == "__main__":
    main()

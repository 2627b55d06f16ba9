"""Trajectories per second of `jax.jit(jax.vmap(rf.flow))`, by the number of lanes.

    python benchmarks/throughput.py [--lanes MOST]

Two points, 60 neurons, seeds x 4 sizes of the initialisation, float64, on the device that JAX
finds. Writes results/throughput-DEVICE.md and .json; see README.md.
"""

import argparse
import json
import re
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from _common import RESULTS, describe, environment, table, timed
from vmap_cost import NEURONS, RTOL, SCALES, T1, grid

import reluflow as rf

jax.config.update("jax_enable_x64", True)

LANES = (1, 16, 256, 4096, 16384)
INTEGRATORS = {"rf.Boost": rf.Boost(), "rf.RungeKutta": rf.RungeKutta()}
LONGEST = 60.0  # seconds of one call: what would take longer is not measured


class Rate(NamedTuple):
    """One number of lanes: seconds of the fastest call, and what it did."""

    lanes: int
    seconds: float
    steps_mean: float
    steps_max: int
    finished: int

    @property
    def per_second(self) -> float:
        return self.lanes / self.seconds


def measure(integrator, most: int) -> list[Rate]:
    """From few lanes to many, as long as a call is expected to take less than a minute."""

    @jax.jit
    @jax.vmap
    def batch(key, log_lambda, t1):
        data = rf.datasets.two_points()
        net = rf.balanced(key, NEURONS, data.dim, log_lambda)
        sol = rf.flow(net, data, t1, rtol=RTOL, integrator=integrator, throw=False)
        return sol.stats["num_steps"], sol.result == rf.RESULTS.successful

    keys, logs, ends = grid(max(LANES) // len(SCALES))
    rates: list[Rate] = []
    for count in LANES:
        if count > most or _expected(rates, count) > LONGEST:
            break
        call = partial(batch, keys[:count], logs[:count], ends[:count])
        [run] = timed([call], rounds=5, budget=10.0)
        steps, good = (np.asarray(leaf) for leaf in run.output)
        rates.append(Rate(count, run.best, steps.mean(), int(steps.max()), int(good.sum())))
        print(f"  {count} lanes: {rates[-1].per_second:.4g} per second", flush=True)
    return rates


def _expected(rates: list[Rate], count: int) -> float:
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
            "steps, mean": [f"{rate.steps_mean:.1f}" for rate in measured],
            "steps, most": [f"{rate.steps_max}" for rate in measured],
            "finished": [f"{rate.finished}" for rate in measured],
        }
        for what, values in cells.items():
            rows.append([f"{name}: {what}", *values, *[""] * (len(LANES) - len(values))])
    return "\n\n".join([
        f"# {title}" if markdown else title,
        describe(found),
        f"two points, m = {NEURONS}, lambda = {lambdas}, rtol {RTOL:.0e}, t1 = {T1:g}; best of up "
        "to 5 calls after compilation. Empty: not measured.",
        table(["lanes", *map(str, LANES)], rows, markdown),
    ]) + "\n"  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=int, default=max(LANES), help="measure no more than these")
    most = parser.parse_args().lanes
    found, device = environment(), jax.devices()[0].device_kind
    rates = {}
    for name, integrator in INTEGRATORS.items():
        print(f"{name} ...", flush=True)
        rates[name] = measure(integrator, most)
    RESULTS.mkdir(exist_ok=True)
    print(text(found, device, rates, markdown=False))
    path = RESULTS / f"throughput-{re.sub(r'[^a-z0-9]+', '-', device.lower())}"
    path.with_suffix(".md").write_text(text(found, device, rates, markdown=True))
    numbers = {name: [rate._asdict() for rate in measured] for name, measured in rates.items()}
    document = {"environment": found, "device": device, "rates": numbers}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

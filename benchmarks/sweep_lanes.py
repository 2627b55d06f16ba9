"""What a lane costs by the number of lanes, and how long lanes wait for the slowest of their batch.

    python benchmarks/sweep_lanes.py [--most 16384]

Lanes: two points, 60 neurons, `rf.Boost`, lambda from 1e-2 to e^-1000; as one batch on one device,
and as points of `rf.sweep` with its own batches on all devices. Waiting: the share of the
iterations of a vmapped loop that a lane spends done, on four mixes of problems; `rf.Boost` under
vmap takes one sweep an iteration. Writes results/sweep-lanes.md and .json; see README.md.
"""

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import numpy as np
from _common import RESULTS, describe, environment, table

import reluflow as rf
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

LANES = (64, 256, 1024, 4096, 16384)
LAMBDAS = 64
BATCH = 64  # lanes on a device of a CPU, by default
SEEDS = 128  # of each mix
LOGS = np.linspace(np.log(1e-2), -1000.0, LAMBDAS)


def two_points(point):
    data = rf.datasets.two_points()
    net = rf.balanced(point.key("seed"), 60, data.dim, point.log_lambda)
    return measured(net, data, 40.0 - 3.0 * point.log_lambda)


def five_points(point):
    data = rf.datasets.five_points()
    net = rf.balanced(point.key("seed"), 60, data.dim, np.log(1e-5))
    return measured(net, data, 200.0)


def orthonormal(point):
    data = rf.datasets.orthonormal(point.key("seed"), 32)
    net = rf.balanced(point.key("seed"), 52, data.dim, np.log(1e-8))
    return measured(net, data, 360.0)


def gaussian(point):
    key, own = jax.random.split(point.key("seed"))
    data = rf.datasets.gaussian_teacher(key, samples=12, dim=4)
    net = rf.balanced(own, 24, data.dim, np.log(1e-3))
    return measured(net, data, 60.0)


def measured(net, data, t1):
    sol = rf.flow(net, data, t1, throw=False)
    return {"result": sol.result, "sweeps": sol.stats["num_sweeps"]}


MIXES = {
    "two points, lambda 1e-2 .. e^-10000": (two_points, np.linspace(np.log(1e-2), -1e4, 16)),
    "five points": (five_points, None),
    "orthonormal, n = 32": (orthonormal, None),
    "Gaussian data, n = 12": (gaussian, None),
}


def seconds_of_batch(lanes):
    """Of one vmapped call on one device, without compilation."""

    def lane(key, log_lambda):
        data = rf.datasets.two_points()
        net = rf.balanced(key, 60, data.dim, log_lambda)
        sol = rf.flow(net, data, 40.0 - 3.0 * log_lambda, throw=False)
        return sol.stats["loss_final"], sol.result

    keys = jax.random.split(jax.random.key(0), lanes)
    logs = np.sort(np.resize(LOGS, lanes))
    call = jax.jit(jax.vmap(lane), compiler_options=rf.compiler_options())
    compiled = call.lower(keys, logs).compile()
    best = np.inf
    for _ in range(3 if lanes <= 1024 else 1):
        began = time.perf_counter()
        loss, _ = jax.block_until_ready(compiled(keys, logs))
        best = min(best, time.perf_counter() - began)
    assert float(loss.max()) < 1e-10
    return best


def seconds_of_sweep(points):
    """Of `rf.sweep`, with tracing and compilation, which a cache has."""
    axes = {"seed": range(points // LAMBDAS), "log_lambda": LOGS}
    began = time.perf_counter()
    ds = rf.sweep(two_points, axes, progress=False)
    assert int(ds.result.max()) == 0
    return time.perf_counter() - began


def waiting(sweeps):
    """In batches of consecutive lanes."""
    batches = [sweeps[k : k + BATCH] for k in range(0, len(sweeps), BATCH)]
    return 1.0 - sweeps.sum() / sum(len(batch) * batch.max() for batch in batches)


def shares(name):
    """(in the order of the sweep, shuffled, sorted by what each takes: the least there can be)."""
    measure, logs = MIXES[name]
    axes = {"seed": range(SEEDS)} | ({} if logs is None else {"log_lambda": logs})
    ds = rf.sweep(measure, axes, progress=False)
    sweeps = ds.sweeps.transpose(*reversed(axes)).values.ravel()  # seeds vary fastest
    mixed = np.random.default_rng(0).permutation(sweeps)
    return [waiting(sweeps), waiting(mixed), waiting(np.sort(sweeps)), float(sweeps.mean())]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=LANES[-1])
    most = parser.parse_args().most
    found = {"environment": environment(), "lanes": [], "waiting": {}}
    for name in MIXES:
        found["waiting"][name] = shares(name)
        print(name, found["waiting"][name], flush=True)
    seconds_of_sweep(LAMBDAS)  # compiled
    for lanes in (n for n in LANES if n <= most):
        pair = [seconds_of_batch(lanes), seconds_of_sweep(lanes)]
        found["lanes"].append([lanes, *(1e3 * each / lanes for each in pair)])
        print(found["lanes"][-1], flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "sweep-lanes.json").write_text(json_text(found, indent=2) + "\n")
        (RESULTS / "sweep-lanes.md").write_text(report(found))
    print(report(found))


def report(found):
    cost = [[str(n), f"{one:.3g}", f"{many:.3g}"] for n, one, many in found["lanes"]]
    share = [
        [name, f"{own:.1%}", f"{mixed:.1%}", f"{best:.1%}", f"{mean:.0f}"]
        for name, (own, mixed, best, mean) in found["waiting"].items()
    ]
    columns = ["lanes", "ms a lane, one batch on one device", "ms a point of rf.sweep"]
    orders = ["mix", "as swept", "shuffled", "sorted by cost", "sweeps a lane"]
    return "\n".join(
        [
            "# Lanes\n",
            describe(found["environment"]) + "\n",
            "Two points, 60 neurons, lambda from 1e-2 to e^-1000:\n",
            table(columns, cost, markdown=True),
            "\n`rf.sweep` runs batches of 64 lanes on each device; its time holds tracing, and "
            "compilation read from a cache.\n",
            f"Share of lane iterations that are waited for, in batches of {BATCH} lanes:\n",
            table(orders, share, markdown=True),
            "",
        ]
    )


if __name__ == "__main__":
    main()

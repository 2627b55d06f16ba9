"""`rf.sweep` beside the bare vmapped flow, a loop and descent; the rounding of a lane by its batch.

    python benchmarks/sweep.py [--seeds 16] [--lambdas 16]

Two points, 60 neurons, `rf.Boost`, lambda from 1e-2 to e^-1000, on one host device for each core
of a CPU. Writes results/sweep.md and .json; see README.md.
"""

import argparse
import functools
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import numpy as np
import optax
from _common import RESULTS, describe, environment, table

import reluflow as rf
from reluflow._json import json_text
from reluflow.sweep._program import Program, Traced

jax.config.update("jax_enable_x64", True)

ROUNDS = 2  # of each of the two, by turns: the fastest counts

NEURONS, STOP = 60, 1e-10
BATCH = 64  # lanes on a device
LOOPED = 256  # points at most
RATE = 1e-3  # of gradient descent


def measure(point):
    data = rf.datasets.two_points()
    net = rf.balanced(point.key("seed"), NEURONS, data.dim, point.log_lambda)
    t1 = 40.0 - 3.0 * point.log_lambda
    sol = rf.flow(net, data, t1, throw=False)
    return {
        "loss": sol.stats["loss_final"],
        "result": sol.result,
        "steps": sol.stats["num_steps"],
        "events": sol.events.count,
        "event_times": sol.events.time[:64],
        "a": sol.final.weights()[0],
    }


class Stopwatch:
    """Seconds that go into tracing and compiling, which the bare flow needs as well."""

    def __init__(self):
        self.seconds = 0.0
        for owner, name in ((Program, "lower"), (Program, "compile")):
            setattr(owner, name, self._timed(getattr(owner, name)))
        Traced.of = self._timed(Traced.of)

    def _timed(self, function):
        def timed(*arguments):
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def swept(axes, stopwatch, **options):
    """(dataset, seconds without compilation)."""
    stopwatch.seconds, began = 0.0, time.perf_counter()
    ds = rf.sweep(measure, axes, progress=False, **options)
    return ds, time.perf_counter() - began - stopwatch.seconds


def bare(axes, devices):
    """Seconds of the same program on the same batches, called in a loop."""
    from reluflow.sweep._axes import read_axes
    from reluflow.sweep._plan import arranged, grid
    from reluflow.sweep._point import base_key
    from reluflow.sweep._running import Experiment

    read = read_axes(axes, ())
    experiment = Experiment(measure, read, *base_key(0), "")
    (points,) = arranged(read, grid(read), None)
    inputs = experiment.inputs(points)

    def many(values, words, base):
        one = jax.extend.core.jaxpr_as_fun(experiment.traced(points[0]).jaxpr)
        return jax.vmap(lambda values, words: one(*values, words, base))(values, words)

    call = jax.jit(many, compiler_options=rf.compiler_options())
    if len(devices) > 1:  # the user's own way to use them all
        over = jax.sharding.PartitionSpec("lanes")
        mesh = jax.sharding.Mesh(np.array(devices), ("lanes",))
        specs = (over, over, jax.sharding.PartitionSpec())
        mapped = jax.shard_map(many, mesh=mesh, in_specs=specs, out_specs=over, check_vma=False)
        call = jax.jit(mapped, compiler_options=rf.compiler_options())
    size = BATCH * len(devices)
    batches = [inputs[k : k + size] for k in range(0, len(points), size)]
    arguments = [(batch.values, batch.words, batch.base) for batch in batches]
    compiled = call.lower(*arguments[0]).compile()
    began = time.perf_counter()
    for each in arguments:
        jax.block_until_ready(compiled(*each))
    return time.perf_counter() - began


def looped(axes):
    """Points a second of the same compiled flow, called for one point after the other."""
    key, logs = jax.random.key(0), axes["log_lambda"]

    @functools.partial(jax.jit, compiler_options=rf.compiler_options())
    def one(seed, log_lambda):
        data = rf.datasets.two_points()
        net = rf.balanced(jax.random.fold_in(key, seed), NEURONS, data.dim, log_lambda)
        return rf.flow(net, data, 40.0 - 3.0 * log_lambda, throw=False).stats["loss_final"]

    points = [(seed, value) for value in logs for seed in axes["seed"]]
    points = points[:: max(1, len(points) // LOOPED)]
    float(one(*points[0]))  # compiled
    began = time.perf_counter()
    assert max(float(one(*point)) for point in points) < STOP
    return len(points) / (time.perf_counter() - began)


def descended():
    """(lanes a second of vmapped gradient descent, its largest loss) at the flow's lambda = 1e-2,
    as many steps as the flow has time."""
    log_lambda, optimiser = np.log(1e-2), optax.sgd(RATE)
    steps = round((40.0 - 3.0 * log_lambda) / RATE)

    @jax.jit
    @jax.vmap
    def many(key):
        data = rf.datasets.two_points()
        net = rf.balanced(key, NEURONS, data.dim, log_lambda)
        return rf.descent(net, data, optimiser, steps, throw=False).stats["loss_final"]

    compiled = many.lower(keys := jax.random.split(jax.random.key(0), BATCH)).compile()
    began = time.perf_counter()
    loss = jax.block_until_ready(compiled(keys))
    return BATCH / (time.perf_counter() - began), float(loss.max())


def differences(ds, other):
    """Of the same points in other batches: largest of weights and event times, equal counts."""
    count = ds.events.values[..., None] > np.arange(64)
    return {
        "weights": float(np.abs(ds.a - other.a).max()),
        "event times": float(np.abs(ds.event_times - other.event_times).values[count].max()),
        "same events": bool((ds.events == other.events).all()),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--lambdas", type=int, default=16)
    given = parser.parse_args()
    cache = tempfile.TemporaryDirectory()  # each program is compiled once
    jax.config.update("jax_compilation_cache_dir", cache.name)
    where, stopwatch, devices = environment(), Stopwatch(), jax.local_devices()
    logs = np.linspace(np.log(1e-2), -1000.0, given.lambdas)
    axes = {"seed": range(given.seeds), "log_lambda": logs}
    found = {"environment": where, "devices": len(devices), "rates": [], "differences": {}}
    points = given.seeds * given.lambdas
    for some in (devices[:1], devices):
        options, times = {"devices": len(some), "batch": BATCH * len(some)}, []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                ds, kept = swept(axes, stopwatch, store=Path(folder) / "s", **options)
            times.append((kept, bare(axes, some)))
        kept, alone = np.min(times, axis=0).tolist()
        found["rates"].append([len(some), points / kept, points / alone, alone / kept])
        assert float(ds.loss.max()) < STOP and int(ds.status.max()) == 0
    found["loop"], found["descent"] = looped(axes), descended()
    few = {"seed": range(8), "log_lambda": logs[:: max(1, given.lambdas // 8)][:8]}
    whole, _ = swept(few, stopwatch, devices=1, batch=64)
    for lanes in (1, 7):
        other, _ = swept(few, stopwatch, devices=1, batch=lanes)
        found["differences"][f"{lanes} lanes"] = differences(whole, other)
    other, _ = swept(few, stopwatch, batch=64)
    found["differences"][f"64 lanes on {len(devices)} devices"] = differences(whole, other)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sweep.json").write_text(json_text(found, indent=2) + "\n")
    (RESULTS / "sweep.md").write_text(report(found, points))
    print(report(found, points))


def report(found, points):
    rates = [
        [str(n), f"{ours:.3g}", f"{alone:.3g}", f"{ratio:.3g}"]
        for n, ours, alone, ratio in found["rates"]
    ]
    apart = [
        [name, f"{d['weights']:.1e}", f"{d['event times']:.1e}", str(d["same events"])]
        for name, d in found["differences"].items()
    ]
    descent, loss = found["descent"]
    return "\n".join(
        [
            "# rf.sweep\n",
            describe(found["environment"]) + "\n",
            f"{points} points a sweep, with a store, beside the same program in a loop:\n",
            table(["devices", "points/s of rf.sweep", "bare", "ratio"], rates, markdown=True),
            "\n64 points in 64 lanes of one device, against the same points in other batches:\n",
            table(["batch", "weights", "event times", "same number of events"], apart, True),
            f"\nThe same flow in a Python loop, one point after the other: {found['loop']:.3g} "
            f"points/s. Gradient descent with step {RATE:g}, vmapped over {BATCH} seeds at lambda "
            f"= 1e-2, for the same time: {descent:.3g} points/s, to a loss of {loss:.1e}.\n",
        ]
    )


if __name__ == "__main__":
    main()

"""What a lane of `jax.vmap` costs, against the same trajectory alone.

    python benchmarks/vmap_cost.py [--quick]

64 seeds x 4 sizes of the initialisation (two points, 60 neurons), by `rf.flow` and by a loop of
`diffrax.diffeqsolve` that is restarted at every event. Alone: one call of the compiled function
after the other, run times added. Together: one call of its `vmap`. See README.md.
"""

import argparse
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from _baselines import restarted
from _common import RESULTS, describe, environment, table, timed
from matplotlib.figure import Figure

import reluflow as rf
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

NEURONS, RTOL, T1 = 60, 1e-8, 100.0
SCALES = (1e-3, 1e-6, 1e-12, 1e-20)
SEEDS = 64
LANES = (1, 4, 16, 64)  # and all of them
MAX_RESTARTS = 500
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Lane(NamedTuple):
    """How one trajectory ended. steps: attempted steps, or restarts of the outer loop."""

    loss: jax.Array
    steps: jax.Array
    evaluations: jax.Array
    good: jax.Array


class Cost(NamedTuple):
    """Of a method: seconds alone (all trajectories, in sequence), and together.

    difference: of the final losses, alone and together, at most.
    traces: of the function, for both; recompilations: for other seeds, lambdas and end times.
    """

    alone: float
    together: float
    lanes: Lane
    difference: float
    traces: int
    recompilations: int


def flow_lane(key, log_lambda, t1, batched: bool) -> Lane:
    data = rf.datasets.two_points()
    net = rf.balanced(key, NEURONS, data.dim, log_lambda)
    sol = rf.flow(net, data, t1, integrator=rf.RungeKutta(), rtol=RTOL, throw=False)
    good = sol.result == rf.RESULTS.successful
    return Lane(
        sol.stats["loss_final"], sol.stats["num_steps"], sol.stats["num_field_evaluations"], good
    )


def loop_lane(key, log_lambda, t1, batched: bool) -> Lane:
    data = rf.datasets.two_points()
    net = rf.balanced(key, NEURONS, data.dim, log_lambda)
    run = restarted(
        net,
        data,
        RTOL,
        jnp.stack([t1]),
        solver=diffrax.Tsit5(),
        max_restarts=MAX_RESTARTS,
        batched=batched,
    )
    final = rf.Network(jnp.zeros(NEURONS), run.a[0], run.w[0])
    return Lane(rf.loss(final, data), run.restarts, run.evaluations, run.reached >= t1)


METHODS = {
    "reluflow, RungeKutta(Dopri8)": flow_lane,
    "diffrax Tsit5 + Event, outer loop": loop_lane,
}


@contextmanager
def compilations():
    """A list that grows by one whenever XLA compiles something."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_) -> None:
        if event == _COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def grid(seeds: int, first: int = 0, scales=SCALES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(keys, log-lambdas, end times) of all lanes; neighbours differ in their lambda."""
    numbers = np.repeat(np.arange(first, first + seeds), len(scales))
    keys = jax.vmap(jax.random.key)(numbers)
    return keys, np.tile(np.log(scales), seeds), np.full(len(numbers), T1)


def cost(lane, seeds: int) -> Cost:
    """Alone and together, and how often each had to be compiled."""
    keys, logs, ends = grid(seeds)
    singles = [(keys[i], logs[i], ends[i]) for i in range(len(logs))]
    others = grid(seeds, first=1000, scales=(1e-2, 1e-4, 1e-9, 1e-16))
    others = (*others[:2], 0.01 * others[2])
    traces = []

    def traced(*one, batched):
        traces.append(batched)
        return lane(*one, batched=batched)

    single = jax.jit(partial(traced, batched=False))
    batch = jax.jit(jax.vmap(partial(traced, batched=True)))

    def in_sequence():
        return [jax.block_until_ready(single(*one)) for one in singles]

    jax.block_until_ready(single(*singles[0]))
    jax.block_until_ready(batch(keys, logs, ends))
    with compilations() as seen:
        calls = [in_sequence, lambda: batch(keys, logs, ends)]
        alone, together = timed(calls, rounds=1)
        jax.block_until_ready(batch(*others))
    assert len(traces) == 2, f"{len(traces)} traces, one alone and one under vmap are enough"
    assert not seen, f"{len(seen)} compilations for another seed, lambda or t1"
    apart = np.array([one.loss for one in alone.output])
    difference = np.max(np.abs(apart - np.asarray(together.output.loss)))
    return Cost(
        min(alone.first, alone.best),
        min(together.first, together.best),
        together.output,
        float(difference),
        len(traces),
        len(seen),
    )


def throughput(lane, lanes) -> dict[int, float]:
    """Trajectories per second of a vmap over so many lanes."""
    keys, logs, ends = grid(max(max(lanes) // len(SCALES), 1))
    batch = jax.jit(jax.vmap(partial(lane, batched=True)))
    calls = [partial(batch, keys[:count], logs[:count], ends[:count]) for count in lanes]
    times = timed(calls, rounds=3, budget=4.0)
    return {count: count / time.best for count, time in zip(lanes, times, strict=True)}


def ratio_table(costs: dict[str, Cost], markdown: bool) -> str:
    header = [
        "method",
        "lane / alone",
        "alone, ms each",
        "lane, ms each",
        "steps mean",
        "steps max",
        "finished",
        "loss < 1e-6",
        "traces",
        "recompilations",
    ]
    rows = []
    for name, found in costs.items():
        count = found.lanes.loss.shape[0]
        steps = np.asarray(found.lanes.steps)
        rows.append(
            [
                name,
                f"{found.together / found.alone:.2f}",
                f"{1e3 * found.alone / count:.2f}",
                f"{1e3 * found.together / count:.2f}",
                f"{steps.mean():.0f}",
                f"{steps.max()}",
                f"{int(np.sum(found.lanes.good))} of {count}",
                f"{int(np.sum(np.asarray(found.lanes.loss) < 1e-6))}",
                f"{found.traces}",
                f"{found.recompilations}",
            ]
        )
    return table(header, rows, markdown)


def throughput_table(found: dict[str, dict[int, float]], markdown: bool) -> str:
    lanes = list(next(iter(found.values())))
    rows = []
    for name, rates in found.items():
        rows.append([f"{name}: per second", *(f"{rates[count]:.0f}" for count in lanes)])
        one = rates[lanes[0]]
        rows.append([f"{name}: over 1 lane", *(f"{rates[count] / one:.2f}" for count in lanes)])
    return table(["lanes", *map(str, lanes)], rows, markdown)


def plot(found: dict[str, dict[int, float]]) -> Figure:
    """Trajectories per second against the number of lanes."""
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    ax = figure.subplots()
    for (name, rates), (color, marker) in zip(
        found.items(), (("#1f4e9c", "o"), ("#7cc48f", "v")), strict=True
    ):
        ax.plot(list(rates), list(rates.values()), color=color, marker=marker, label=name)
    ax.set(xscale="log", yscale="log", xlabel="lanes of the vmap", ylabel="trajectories / s")
    ax.set_xticks(list(rates), list(map(str, rates)))
    ax.minorticks_off()
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(f"two points, m = {NEURONS}, rtol {RTOL:.0e}, t1 = {T1:g}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def text(found, costs, rates, markdown: bool) -> str:
    heading = (lambda title: f"# {title}") if markdown else (lambda title: title)
    lambdas = ", ".join(f"{scale:.0e}" for scale in SCALES)
    count = next(iter(costs.values())).lanes.loss.shape[0]
    return (
        "\n\n".join(
            [
                heading("Cost of a lane under vmap"),
                describe(found),
                f"two points, m = {NEURONS}, lambda = {lambdas}, rtol {RTOL:.0e}, t1 = {T1:g}: "
                f"{count} lanes. Steps: attempted steps of rf.flow, restarts of the outer loop. "
                "Traces: one alone, one under vmap; "
                "recompilations: for other seeds, lambdas and end times.",
                ratio_table(costs, markdown),
                throughput_table(rates, markdown),
            ]
        )
        + "\n"
    )


def write(name: str, found, costs: dict[str, Cost], rates) -> None:
    RESULTS.mkdir(exist_ok=True)
    print(text(found, costs, rates, markdown=False))
    (RESULTS / f"{name}.md").write_text(text(found, costs, rates, markdown=True))
    plot(rates).savefig(RESULTS / f"{name}.png", dpi=130)
    numbers = {
        method: {
            **{k: v for k, v in one._asdict().items() if k != "lanes"},
            "lanes": {k: np.asarray(v).tolist() for k, v in one.lanes._asdict().items()},
        }
        for method, one in costs.items()
    }
    document = {"environment": found, "costs": numbers, "trajectories_per_second": rates}
    (RESULTS / f"{name}.json").write_text(json_text(document) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 seeds, up to 16 lanes")
    quick = parser.parse_args().quick
    found = environment()
    costs, rates = {}, {}
    for name, lane in METHODS.items():
        print(f"{name} ...", flush=True)
        costs[name] = cost(lane, 4 if quick else SEEDS)
        rates[name] = throughput(lane, LANES[:2] if quick else LANES)
        count = costs[name].lanes.loss.shape[0]
        rates[name][count] = count / costs[name].together
    write("vmap_cost_quick" if quick else "vmap_cost", found, costs, rates)


if __name__ == "__main__":
    main()

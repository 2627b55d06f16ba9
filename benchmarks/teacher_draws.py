"""What the paper's high-dimensional experiment does, over draws of its data.

    python benchmarks/teacher_draws.py [--quick] [--keys 0 4 11]

2022 paper, Fig. 6 and 7: n = 75 Gaussian inputs of dimension 150, a teacher of 6 neurons, m = 200,
scale 1e-20. The paper says that the loss converges to 0. Here: to what loss each draw comes, which
critical points it passes, and, where it stays, which samples are left and which neurons could fit
them. Writes results/teacher-draws.md and .json; other keys are kept. See README.md.
"""

import argparse
import json
import time

import diffrax
import jax
import numpy as np
from _common import RESULTS, describe, environment, table

import reluflow as rf
from reluflow import analysis
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

SAMPLES, DIM, NEURONS = 75, 150, 200
LOG_LAMBDA = -20.0 * float(np.log(10.0)) - 0.5 * float(np.log(NEURONS * DIM))
SEEDS = range(20)
FITTED = 1e-6  # the loss asked for
STOP, LATEST, RTOL = 1e-8, 1000.0, 1e-6
MAX_STEPS = 700  # of which all networks are kept
MAX_SLIDING = 40  # units of one neuron at once
LARGE = -6.0  # ln(|a_j| |w_j|), less that of the largest neuron: what has grown


def flow_of():
    """run(net, data, t1), compiled once."""

    @jax.jit
    def run(net, data, t1):
        return rf.flow(
            net,
            data,
            t1,
            integrator=rf.Boost(max_sliding=MAX_SLIDING),
            rtol=RTOL,
            stop_loss=STOP,
            saveat=diffrax.SaveAt(t0=True, steps=True),
            max_steps=MAX_STEPS,
            throw=False,
        )

    return run


def record_of(key: int, run, t1: float) -> dict:
    data = rf.datasets.gaussian_teacher(jax.random.key(key), SAMPLES, DIM)
    net = rf.balanced(jax.random.key(1), NEURONS, DIM, LOG_LAMBDA)
    begin = time.perf_counter()
    sol = jax.block_until_ready(run(net, data, np.float64(t1)))
    seconds = time.perf_counter() - begin
    kept = np.isfinite(np.asarray(sol.ts))
    ts, losses = np.asarray(sol.ts)[kept], np.asarray(sol.losses)[kept]
    below = np.flatnonzero(losses <= FITTED)
    found = analysis.saddles(sol, data)
    record = {
        "key": key,
        "loss_start": float(losses[0]),
        "loss": float(losses[-1]),
        "time": float(ts[-1]),
        "result": rf.RESULTS[sol.result] or "end",
        "seconds": seconds,
        "steps": int(sol.stats["num_steps"]),
        "events": int(sol.stats["num_events"]),
        "fitted_at": float(ts[below[0]]) if len(below) else None,
        "rate": float(np.log(losses[-2] / losses[-1]) / (ts[-1] - ts[-2])),
        "saddles": [saddle_of(one) for one in found],
        "left": left_over(sol.final, data),
    }
    record["verdict"] = verdict(record)
    print(
        f"  key {key}: loss {record['loss']:.2e} at t = {record['time']:.5g} ({seconds:.0f} s, "
        f"{record['steps']} steps): {record['verdict']}",
        flush=True,
    )
    return record


def saddle_of(saddle: analysis.Saddle) -> dict:
    return {
        "loss": saddle.loss,
        "index": saddle.index,
        "active": int(saddle.active.sum()),
        "stationary": saddle.stationary,
        "reached": saddle.reached,
        "escape_rate": saddle.escape_rate,
        "leaving": min(saddle.leaving, 1e300),
        "log_distance": saddle.log_distance,
    }


def left_over(net: rf.Network, data: rf.Dataset) -> list[dict]:
    """The samples with 99% of the loss. helper: ln of its size, over that of the largest neuron."""
    largest = float(np.max(2.0 * np.asarray(net.log_norm())))
    return [
        {
            "sample": one.sample,
            "label": one.label,
            "residual": one.residual,
            "share": one.share,
            "helpers": one.helpers,
            "helper": max(one.log_size - largest, -1e300),
            "opponent": max(one.opponent_log_size - largest, -1e300),
            "waiting": one.waiting,
        }
        for one in analysis.unfitted(net, data)
    ]


def verdict(record: dict) -> str:
    """One word: fitted, minimum, saddle, starved, or descends.

    starved: it still moves, but on the samples that hold 99% of the loss no neuron is active, of
    either sign: they add what they add now until another neuron comes to them, if ever.
    """
    if record["loss"] <= FITTED:
        return "fitted"
    last = record["saddles"][-1] if record["saddles"] else None
    if last is not None and last["leaving"] >= 1e300:
        return "saddle" if last["index"] else "minimum"
    alone = all(s["helpers"] == 0 and s["opponent"] <= -1e300 for s in record["left"])
    return "starved" if alone else "descends"


# The report


def main_rows(records: list[dict]) -> list[list[str]]:
    rows = []
    for r in records:
        dormant = [s for s in r["left"] if s["helpers"] > 0]
        never = [s for s in r["left"] if s["helpers"] == 0]
        chain = ", ".join(f"{s['loss']:.1e} ({s['index']})" for s in r["saddles"])
        rows.append(
            [
                f"{r['key']}",
                r["verdict"],
                f"{r['loss']:.2e}",
                f"{r['time']:.0f}",
                f"{r['fitted_at']:.1f}" if r["fitted_at"] is not None else "",
                f"{r['rate']:.1e}" if r["rate"] is not None else "",
                chain,
                names(never),
                names(dormant),
                f"{max((s['helper'] for s in r['left']), default=-np.inf):.1f}" if dormant else "",
                f"{r['steps']}",
                f"{r['seconds']:.0f}",
                r["result"][:60],
            ]
        )
    return rows


def names(samples: list[dict], most: int = 6) -> str:
    text = ", ".join(f"{s['sample']}" for s in samples[:most])
    return text + (f" and {len(samples) - most} more" if len(samples) > most else "")


HEADER = [
    "key",
    "",
    "loss",
    "at t",
    "1e-6 at t",
    "-d ln L / dt",
    "critical points: L (index)",
    "left, nobody active",
    "left, others active",
    "their ln size",
    "steps",
    "s",
    "ended",
]
NOTE = """left: the samples with 99% of the loss at the end. nobody active: no neuron of whatever
size has a_j r_k > 0 and is active on it. others active: some have and are, and their size is
ln(|a_j| |w_j|) of the largest of them, less that of the largest neuron."""


def summary(records: list[dict]) -> list[list[str]]:
    def of(*words):
        return [r for r in records if r["verdict"] in words]

    def samples(draws):
        return [s for r in draws for s in r["left"]]

    def helped(left):
        return f"{sum(s['helper'] > LARGE for s in left)} of {len(left)}"

    stay, others = samples(of("minimum", "saddle", "starved")), samples(of("fitted", "descends"))
    none = sum(s["helpers"] == 0 for s in stay)
    whole = sum(s["residual"] == s["label"] for s in stay)
    large = f"a neuron above e^{LARGE:g} of the largest could fit them"
    return [
        [f"fitted: loss below {FITTED:g}", f"{len(of('fitted'))} of {len(records)}"],
        ["minimum: at a critical point of index 0 and larger loss", f"{len(of('minimum'))}"],
        ["saddle: beside one at the end", f"{len(of('saddle'))}"],
        ["starved: moves, but nobody is active on what is left", f"{len(of('starved'))}"],
        ["descends", f"{len(of('descends'))}"],
        ["samples left by minima, saddles and the starved", f"{len(stay)}"],
        ["of them, no neuron of whatever size could fit them", f"{none} of {len(stay)}"],
        ["of them, the output is 0 to the last bit", f"{whole} of {len(stay)}"],
        [f"of them, {large}", helped(stay)],
        [f"control, of the others: {large}", helped(others)],
    ]


def text(environ: dict, records: list[dict], markdown: bool) -> str:
    title = f"The high-dimensional experiment of the 2022 paper, {len(records)} draws"
    parts = [
        f"# {title}" if markdown else title,
        describe(environ),
        table(["", "draws"], summary(records), markdown),
        NOTE.replace("\n", " "),
        table(HEADER, main_rows(records), markdown),
    ]
    return "\n\n".join(parts) + "\n"


def write(path, environ: dict, known: dict[int, dict]) -> list[dict]:
    records = [known[key] | {"verdict": verdict(known[key])} for key in sorted(known)]
    path.with_suffix(".md").write_text(text(environ, records, markdown=True))
    path.write_text(json_text({"environment": environ, "draws": records}, indent=1) + "\n")
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, nargs="*", help="of the data; 0 to 19 by default")
    parser.add_argument("--tables", action="store_true", help="only write the tables again")
    parser.add_argument("--quick", action="store_true", help="two keys, to t = 200")
    asked = parser.parse_args()
    environ, run = environment(), flow_of()
    keys = asked.keys or (SEEDS[4:6] if asked.quick else SEEDS)
    path = RESULTS / f"teacher-draws{'-quick' if asked.quick else ''}.json"
    RESULTS.mkdir(exist_ok=True)
    known = {r["key"]: r for r in json.loads(path.read_text())["draws"]} if path.exists() else {}
    keys = () if asked.tables else keys
    if len(keys):
        record_of(keys[0], run, 1e-3)  # compiles
    for key in keys:  # written after each: a draw takes minutes
        known[key] = record_of(key, run, 200.0 if asked.quick else LATEST)
        write(path, environ, known)
    print(text(environ, write(path, environ, known), markdown=False))


if __name__ == "__main__":
    main()

"""Other inputs, activations and losses: what both integrators need, and how exact they are.

    python benchmarks/other_problems.py

Attempted steps at rtol 1e-8, and the time of a call whose program is compiled; the error of the
weights, over the largest neuron, against the independent reference of the tests, or, where that
has no such loss or the time is too long for it, against rf.RungeKutta at rtol 1e-11. Writes
results/other-problems.md and .json. See README.md.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _common import RESULTS, describe, environment, table, timed
from reference import reference_flow

import reluflow as rf
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

RTOL, TIGHT = 1e-8, 1e-11
INTEGRATORS = {"Boost": rf.Boost(), "RungeKutta": rf.RungeKutta()}
_OF_REFERENCE = {rf.square: "square", rf.logistic: "logistic", rf.exponential: "exponential"}


class Problem(NamedTuple):
    name: str
    net: rf.Network
    data: rf.Dataset
    t1: float
    loss: rf.Loss = rf.square
    long: bool = False  # too long for the reference


def huber(h, y):
    return jnp.sqrt(1.0 + (h - y) ** 2) - 1.0


def problems() -> list[Problem]:
    key = jax.random.key(0)
    xor, many = rf.datasets.xor(), rf.datasets.orthonormal(key, 32)
    u = jnp.linspace(-1.0, 1.0, 12)
    line = rf.datasets.one_dimensional(u, jnp.sin(4.0 * u))
    pairs = rf.datasets.symmetric_pairs(jax.random.key(3), 2, 2)
    signs = rf.Dataset(pairs.x, jnp.sign(pairs.y))

    def start(neurons, dim, log_lambda, activation=rf.relu):
        return rf.balanced(jax.random.key(1), neurons, dim, log_lambda, activation=activation)

    leaky = rf.leaky_relu(0.1)
    return [
        Problem("XOR, m = 12, lambda = e^-9", start(12, 2, -9.0), xor, 60.0),
        Problem("12 points on a line, m = 40, lambda = e^-9", start(40, 2, -9.0), line, 300.0),
        Problem("the same, leaky ReLU of slope 0.1", start(40, 2, -9.0, leaky), line, 300.0),
        Problem(
            "orthonormal, n = 32, m = 52, lambda = 1e-8, the same",
            start(52, 32, np.log(1e-8), leaky),
            many,
            360.0,
        ),
        Problem("XOR, absolute value, m = 12", start(12, 2, -9.0, rf.absolute), xor, 60.0),
        Problem("XOR, logistic, t = 1000", start(12, 2, -3.0), xor, 1e3, rf.logistic),
        Problem("the same, t = 1e12", start(12, 2, -3.0), xor, 1e12, rf.logistic, True),
        Problem(
            "symmetric pairs, exponential, t = 1e12",
            start(12, 2, -3.0),
            signs,
            1e12,
            rf.exponential,
            True,
        ),
        Problem(
            "12 points on a line, a loss of one's own",
            start(40, 2, -9.0),
            line,
            300.0,
            rf.Loss(huber),
        ),
    ]


def weights(final: rf.Network) -> np.ndarray:
    a, w = final.weights()
    return np.column_stack([a, w])


def right(problem: Problem) -> tuple[np.ndarray, str]:
    """(the weights at the end, by whom)."""
    net, data = problem.net, problem.data
    if problem.long or problem.loss not in _OF_REFERENCE:
        options = {"rtol": TIGHT, "integrator": rf.RungeKutta(), "max_steps": 100_000}
        sol = rf.flow(net, data, problem.t1, loss=problem.loss, **options)
        return weights(sol.final), "rf.RungeKutta"
    model = {"slopes": [float(s) for s in net.activation.slopes()]}
    arrays = [np.asarray(leaf) for leaf in (net.output, net.hidden, net.log_scale)]
    model["loss"] = _OF_REFERENCE[problem.loss]
    found = reference_flow(np.asarray(data.x), np.asarray(data.y), *arrays, problem.t1, **model)
    scale = np.exp(found.final.log_scale)[:, None]
    return scale * np.column_stack([found.final.a, found.final.w]), "the reference"


def measured(problem: Problem) -> dict:
    exact, by = right(problem)
    size = np.max(np.linalg.norm(exact, axis=1))

    def call(integrator):
        options = {"rtol": RTOL, "integrator": integrator, "throw": False}
        return rf.flow(problem.net, problem.data, problem.t1, loss=problem.loss, **options)

    found = {"problem": problem.name, "against": by}
    runs = timed([lambda each=each: call(each) for each in INTEGRATORS.values()])
    for name, run in zip(INTEGRATORS, runs, strict=True):
        sol = run.output
        found[name] = {
            "result": rf.RESULTS[sol.result] or "successful",
            "events": int(sol.events.count),
            "steps": int(sol.stats["num_steps"]),
            "sweeps": int(sol.stats["num_sweeps"]),
            "error": float(np.max(np.linalg.norm(weights(sol.final) - exact, axis=1)) / size),
            "seconds": run.best,
        }
    return found


def report(found: dict) -> str:
    header = ["problem", "events", "`rf.Boost`", "ms", "error", "`rf.RungeKutta`", "ms", "error"]
    rows = []
    for each in found["problems"]:
        boost, other = each["Boost"], each["RungeKutta"]
        row = [each["problem"], str(boost["events"]), f"{boost['steps']} ({boost['sweeps']})"]
        row += [f"{1e3 * boost['seconds']:.0f}", f"{boost['error']:.0e}", str(other["steps"])]
        rows.append([*row, f"{1e3 * other['seconds']:.0f}", f"{other['error']:.0e}"])
    failed = [
        e["problem"]
        for e in found["problems"]
        for name in INTEGRATORS
        if e[name]["result"] != "successful"
    ]
    lines = ["# Other inputs, activations and losses", "", describe(found["environment"]) + ".", ""]
    lines += [
        "Attempted steps (sweeps) at rtol 1e-8, milliseconds of a call, the error over the "
        "largest neuron.",
        "",
        table(header, rows, markdown=True),
    ]
    by = [e["problem"] for e in found["problems"] if e["against"] != "the reference"]
    lines += [
        "",
        f"Against rf.RungeKutta at rtol 1e-11: {'; '.join(by)}. The others against the "
        "independent reference.",
    ]
    lines += ["", f"Failed: {', '.join(failed) or 'none'}."]
    return "\n".join(lines) + "\n"


def main():
    found = {"environment": environment(), "problems": []}
    for problem in problems():
        found["problems"].append(measured(problem))
        print(json_text(found["problems"][-1]), flush=True)
    (RESULTS / "other-problems.json").write_text(json_text(found, indent=1) + "\n")
    text = report(found)
    (RESULTS / "other-problems.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""What the benchmarks share: problems, the reference, errors, times, and what they ran on."""

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import reluflow as rf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from reference import reference_flow

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("reluflow", "jax", "diffrax", "equinox", "optax", "optimistix", "numpy", "scipy")


class Case(NamedTuple):
    """A problem: flow `net` on `data` to `t1`; `middle` is in the middle of the first drop.

    `middle` and `t1` are multiples of 0.04, so that descents with steps that divide it save there.
    """

    name: str
    data: rf.Dataset
    net: rf.Network
    middle: float
    t1: float

    @property
    def times(self) -> jax.Array:
        return jnp.array([self.middle, self.t1])


def cases() -> list[Case]:
    """The paper's two data sets (2022, Fig. 2 to 4), and random orthonormal inputs."""
    two, five = rf.datasets.two_points(), rf.datasets.five_points()
    many = rf.datasets.orthonormal(jax.random.key(0), 32)

    def start(seed, neurons, data, scale):
        return rf.balanced(jax.random.key(seed), neurons, data.dim, np.log(scale))

    width = np.sqrt(60 * 2)
    return [
        Case("two-points", two, start(0, 60, two, 1e-6 / width), 12.48, 40.0),
        Case("five-points", five, start(0, 60, five, 1e-4 / width), 59.6, 200.0),
        Case("orthonormal-32", many, start(1, 52, many, 1e-8), 133.08, 360.0),
    ]


class Weights(NamedTuple):
    """Plain weights at the times of a case: a (time, neurons), w (time, neurons, dim)."""

    a: np.ndarray
    w: np.ndarray


class Errors(NamedTuple):
    """Against the reference, at one time.

    weights: max_j |theta_j - theta_j*| / max_j |theta_j*|, theta_j = (a_j, w_j).
    prediction: max_k |h(x_k) - h*(x_k)|.
    """

    weights: float
    prediction: float


def reference(case: Case) -> tuple[Weights, int]:
    """(weights, number of events) by the oracle of the tests, which shares nothing with rf."""
    x, y = np.asarray(case.data.x), np.asarray(case.data.y)
    net = [np.asarray(leaf) for leaf in (case.net.output, case.net.hidden, case.net.log_scale)]
    found = reference_flow(x, y, *net, case.t1, ts=[case.middle, case.t1])
    scale = np.exp(found.saved.log_scale)
    return Weights(scale * found.saved.a, scale[..., None] * found.saved.w), len(found.times)


def errors(case: Case, found: Weights, exact: Weights) -> list[Errors]:
    """At each of the case's times; NaN where `found` is not finite."""

    def one(a, w, a_exact, w_exact):
        theta, theta_exact = np.column_stack([a, w]), np.column_stack([a_exact, w_exact])
        size = np.max(np.linalg.norm(theta_exact, axis=1))
        off = np.max(np.linalg.norm(theta - theta_exact, axis=1)) / size
        h, h_exact = (
            a_ @ np.maximum(w_ @ np.asarray(case.data.x).T, 0.0)
            for a_, w_ in ((a, w), (a_exact, w_exact))
        )
        return Errors(float(off), float(np.max(np.abs(h - h_exact))))

    with np.errstate(invalid="ignore"):
        return [one(*states) for states in zip(*found, *exact, strict=True)]


class Timed(NamedTuple):
    """first: seconds of the first call, which may compile; best: of the fastest of the others."""

    output: Any
    first: float
    best: float


def timed(calls: list[Callable], rounds: int = 5, budget: float = 2.0) -> list[Timed]:
    """Seconds of wall time of each call, until its result is there.

    The calls take turns, `rounds` times, so that what else the machine does meets all of them, and
    there and back, since a short one is slower behind a long one; a call that has used up `budget`
    seconds sits the rest out. The fastest time of each is reported: on a shared machine the others
    measure the neighbours.
    """
    firsts = [_seconds(call) for call in calls]
    best, spent = [np.inf] * len(calls), [0.0] * len(calls)
    for turn in range(rounds):
        for i in range(len(calls))[:: -1 if turn % 2 else 1]:
            if spent[i] < budget:
                _, seconds = _seconds(calls[i])
                best[i], spent[i] = min(best[i], seconds), spent[i] + seconds
    return [Timed(*first, least) for first, least in zip(firsts, best, strict=True)]


def _seconds(call):
    start = time.perf_counter()
    output = jax.block_until_ready(call())
    return output, time.perf_counter() - start


def environment() -> dict[str, Any]:
    """What the numbers depend on, without naming a machine."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "source"
    return {
        "date": date.today().isoformat(),
        "device": jax.devices()[0].platform.upper(),
        "cpu_count": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **versions,
    }


def describe(environment: dict[str, Any]) -> str:
    """One line of `environment`, for tables."""
    machine = (
        f"{environment['date']}, {environment['device']}, {environment['cpu_count']} cores, "
        f"load average {environment['load']} at the start, float64; "
    )
    return machine + ", ".join(f"{name} {environment[name]}" for name in ("python", *_PACKAGES))


def table(header: list[str], rows: list[list[str]], markdown: bool = False) -> str:
    """Plain text in columns, or a markdown table."""
    if markdown:
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )

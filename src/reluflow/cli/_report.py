"""The numbers of a run: as a dictionary for summary.json, and as a table for people."""

import importlib.metadata
import math
import platform
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .._integration._results import RESULTS, ended_well
from .._integration._solution import Solution
from .._json import without_infinities
from ..analysis import Plateau, plateaus
from ..theory import minimal_squared_norm
from ._run import Outcome, Timed
from ._settings import log_of

NORMALISATION = "L = 1/(2n) sum r^2, theta' = -grad L (times and losses of the papers)"
_PACKAGES = ("reluflow", "jax", "diffrax", "equinox", "optax", "numpy")


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything that the table shows, and the settings and versions it came from."""
    solution, data = outcome.flow.solution, outcome.data
    squared_norm = float(solution.final.squared_norm())
    numbers: dict[str, Any] = {
        "normalisation": _normalisation(outcome.settings.loss),
        "settings": _settings(outcome),
        "result": {
            "successful": bool(ended_well(solution.result)),
            "at_rest": bool(solution.result == RESULTS.rest_reached),
            "message": RESULTS[solution.result],
        },
        "predicted": outcome.forecast._asdict(),
        "t_final": float(solution.stats["t_final"]),
        "loss_final": float(solution.stats["loss_final"]),
        "plateaus": [_plateau(found) for found in plateaus(solution)],
        "events": solution.events.tally(),
        "ambiguities": solution.ambiguities.lines(),
        "squared_norm": squared_norm,
        "minimal_squared_norm": None,
        "squared_norm_ratio": None,
        "stats": {name: np.asarray(value).item() for name, value in solution.stats.items()},
        "seconds": _seconds(outcome.flow),
        "descent": _descent(outcome),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in _PACKAGES},
    }
    if outcome.settings.as_in_papers and data.is_orthogonal():
        minimum = float(minimal_squared_norm(data))
        numbers["minimal_squared_norm"] = minimum
        numbers["squared_norm_ratio"] = squared_norm / minimum if minimum > 0.0 else None
    return {name: without_infinities(value) for name, value in numbers.items()}


def _normalisation(loss: str) -> str:
    if loss == "square":
        return NORMALISATION
    return f"L = 1/n sum l(h, y), l the {loss} loss, theta' = -grad L"


def show(numbers: dict[str, Any], heading: str, console: Console) -> None:
    """The short table at the end of a run."""
    table = Table(title=f"gradient flow of {heading}", show_header=False)
    tally = ", ".join(f"{n} {kind}" for kind, n in numbers["events"].items() if n) or "none"
    table.add_row("events", f"{numbers['stats']['num_events']} ({tally})")
    for index, found in enumerate(numbers["plateaus"], start=1):
        left = "not left"
        if found["left"] is not None:
            left = f"left at t = {found['left']:.6g} (half-way down at {found['half']:.6g})"
        table.add_row(f"plateau {index}", f"loss {found['loss']:.6g}, {left}")
    for line in numbers["ambiguities"][:3]:
        table.add_row("not unique", line)
    rests = ", at rest" if numbers["result"]["at_rest"] else ""
    end = f"t = {numbers['t_final']:g}, loss {_text(numbers['loss_final'])}{rests}"
    table.add_row("end", end)
    norm = f"{numbers['squared_norm']:.8g}"
    if numbers["squared_norm_ratio"] is not None:
        norm += (
            f" = {numbers['squared_norm_ratio']:.8g} times the minimum "
            f"{numbers['minimal_squared_norm']:.8g}"
        )
    table.add_row("squared norm", norm)
    stats, seconds = numbers["stats"], numbers["seconds"]
    table.add_row(
        "steps",
        f"{stats['num_accepted_steps']} accepted of {stats['num_steps']}, {_with_saves(stats)}",
    )
    table.add_row("time", f"{seconds['run']:.3g} s, after {seconds['compile']:.3g} s to compile")
    if numbers["descent"] is not None:
        _show_descent(table, numbers["descent"])
    console.print(table)
    if not numbers["result"]["successful"]:
        console.print(f"[bold red]Stopped early.[/] {numbers['result']['message']}")


def _show_descent(table: Table, beside: dict[str, Any]) -> None:
    table.add_section()
    step = beside["step"]
    if not beside["successful"]:
        table.add_row("descent", f"step {step:g}: {beside['message']}")
        return
    table.add_row("descent", f"step {step:g}, {beside['num_field_evaluations']} evaluations")
    error = beside["error"]
    table.add_row(
        "error in h(x)", f"{error['function_max']:.3g} at most, {error['function_final']:.3g} final"
    )
    table.add_row(
        "error in weights",
        f"{error['weights_max']:.3g} at most, {error['weights_final']:.3g} final "
        "(relative to the norm)",
    )
    drops = error["drops"]
    if drops is None:
        table.add_row("error of drops", "its plateaus are others than the flow's")
    elif drops:
        table.add_row("error of drops", ", ".join(f"{drop:+.3g}" for drop in drops) + " in t")
    table.add_row(
        "cost",
        f"with the end alone saved the flow takes {_work(beside['stats_flow'])}, and the descent "
        f"{beside['run_ratio']:.3g} times the time of the flow",
    )


def _work(stats: dict[str, Any]) -> str:
    """What an integrator is asked for: sweeps of all neurons through a step, or evaluations."""
    if stats["num_sweeps"]:
        return f"{stats['num_sweeps']} sweeps"
    if stats["num_field_evaluations"] < 0:
        return "uncounted evaluations"
    return f"{stats['num_field_evaluations']} field evaluations"


def _with_saves(stats: dict[str, Any]) -> str:
    """The same of a run whose steps end at the times that it saves, as those of `RungeKutta` do."""
    return _work(stats) + ("" if stats["num_sweeps"] else " (a step ends at each saved time)")


def _settings(outcome: Outcome) -> dict[str, Any]:
    settings, data = outcome.settings, outcome.data
    log_lambda = log_of(settings.scale) - 0.5 * math.log(settings.neurons * data.dim)
    return {
        "experiment": str(settings.name),
        "neurons": settings.neurons,
        "samples": data.samples,
        "dim": data.dim,
        "labels": settings.shape.labels.value if settings.shape.labels else None,
        "scale": settings.scale,
        "log_lambda": log_lambda,
        "seed": settings.seed,
        "t1": settings.t1,
        "rtol": settings.rtol,
        "loss": settings.loss,
        "activation": str(settings.activation),
        "integrator": str(settings.integrator),
        "compare_descent": settings.descent_step,
    }


def _plateau(found: Plateau) -> dict[str, float]:
    return {"loss": found.loss, "reached": found.start, "left": found.end, "half": found.half}


def _seconds(timed: Timed) -> dict[str, float]:
    return {"compile": timed.compile_seconds, "run": timed.run_seconds}


def _descent(outcome: Outcome) -> dict[str, Any] | None:
    beside = outcome.beside
    if beside is None:
        return None
    solution, bare = beside.descent.solution, beside.bare_flow
    successful = bool(solution.result == RESULTS.successful)
    evaluations = int(solution.stats["num_field_evaluations"])
    return {
        "step": outcome.settings.descent_step,
        "successful": successful,
        "message": RESULTS[solution.result],
        "loss_final": float(solution.stats["loss_final"]),
        "num_field_evaluations": evaluations,
        "seconds": _seconds(beside.bare),
        "seconds_flow": _seconds(bare),
        "stats_flow": {k: np.asarray(v).item() for k, v in bare.solution.stats.items()},
        "run_ratio": beside.bare.run_seconds / bare.run_seconds,
        "error": _error(outcome, solution) if successful else None,
    }


def _error(outcome: Outcome, theirs: Solution) -> dict[str, Any]:
    """Distances of the descent from the flow, at the saved times that both reached."""
    ours = outcome.flow.solution
    both = np.isfinite(np.asarray(ours.ts)) & np.isfinite(np.asarray(theirs.ts))
    x = outcome.data.x
    function = np.abs(np.asarray(ours.networks(x) - theirs.networks(x))).max(axis=-1)[both]
    (a, w), (b, v) = ours.networks.weights(), theirs.networks.weights()
    squares = np.sum((a - b) ** 2, axis=-1) + np.sum((w - v) ** 2, axis=(-2, -1))
    weights = np.sqrt(squares / np.asarray(ours.networks.squared_norm()))[both]
    mine, other = plateaus(ours), plateaus(theirs)
    same = len(mine) == len(other)
    drops = (
        [
            float(d.half - f.half)
            for f, d in zip(mine, other, strict=same)
            if np.isfinite(d.half) and np.isfinite(f.half)
        ]
        if same
        else None
    )
    return {
        "function_max": float(function.max()),
        "function_final": float(function[-1]),
        "weights_max": float(weights.max()),
        "weights_final": float(weights[-1]),
        "drops": drops,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"

"""Tables, ratios and the plot of `work_precision.py`."""

from typing import Any, NamedTuple

import numpy as np
from _common import RESULTS, Errors, describe, table
from matplotlib.figure import Figure

from reluflow._json import json_text

FLOW, DESCENT, PLAIN, EVENT = "reluflow", "gradient descent", "diffrax", "diffrax + Event"
TARGETS = (1e-4, 1e-6, 1e-8, 1e-10)
_AT = {"middle": "in the middle of the first drop", "end": "at the end"}
_COST = {"evaluations": "field evaluations", "seconds": "wall time (s)"}
_STYLE = {
    f"{FLOW} Dopri8": dict(color="#1f4e9c", marker="o"),
    f"{FLOW} Tsit5": dict(color="#6fa8e8", marker="o"),
    DESCENT: dict(color="#444444", marker="s"),
    f"{PLAIN} Dopri8": dict(color="#c4500a", marker="^"),
    f"{PLAIN} Tsit5": dict(color="#f5a35c", marker="^"),
    f"{EVENT} Dopri8": dict(color="#1d7a3c", marker="v"),
    f"{EVENT} Tsit5": dict(color="#7cc48f", marker="v"),
}


class Point(NamedTuple):
    """One run. setting: its tolerance, or its step. compile: what the first call took beyond
    `seconds`; later calls of the same method compile nothing, or little (gradient descent)."""

    method: str
    setting: float
    middle: Errors
    end: Errors
    evaluations: int
    seconds: float
    compile: float
    note: str


def curve(points: list[Point], method: str, at: str, cost: str) -> np.ndarray:
    """(error, cost) of a method, from loose to tight; a point that is worse and dearer is left
    out, and so is one that did not get there."""
    pairs = [
        (getattr(point, at).weights, getattr(point, cost))
        for point in points
        if point.method == method
    ]
    pairs = sorted((e, c) for e, c in pairs if np.isfinite(e))
    kept: list[tuple[float, float]] = []
    for error, price in pairs:
        if not kept or price < kept[-1][1]:
            kept.append((error, price))
    return np.array(kept[::-1]).reshape(-1, 2)


def cost_at(front: np.ndarray, target: float, order: float | None = None) -> tuple[float, bool]:
    """(the cost of an error of `target`, whether it is extrapolated); NaN where not reached.

    Interpolated on logarithmic axes. A method whose loosest run is better than the target costs
    what that run costs; beyond its tightest, the cost grows as error^(-1/order) where given.
    """
    if len(front) == 0:
        return np.nan, False
    if target >= front[0, 0]:
        return float(front[0, 1]), False
    if target < front[-1, 0]:
        if order is None:
            return np.nan, False
        return float(front[-1, 1] * (front[-1, 0] / target) ** (1.0 / order)), True
    error, price = np.log(front).T
    return float(np.exp(np.interp(np.log(target), error[::-1], price[::-1]))), False


def descent_order(points: list[Point], at: str) -> float:
    """The measured order of gradient descent: the slope between its two smallest steps."""
    runs = sorted((p.setting, getattr(p, at).weights) for p in points if p.method == DESCENT)
    (fine, small), (coarse, large) = runs[:2]
    return float(np.log(large / small) / np.log(coarse / fine))


def ratios(points: list[Point], at: str) -> list[list[str]]:
    """Rows: a method; columns: evaluations / wall time over those of `rf.RungeKutta()`, at each
    target."""
    rows = []
    for method in _methods(points):
        reached = len(curve(points, method, at, "seconds")) > 0
        pairs = [
            "fails"
            if not reached
            else " / ".join(_ratio(points, method, at, cost, target) for cost in _COST)
            for target in TARGETS
        ]
        rows.append([method, *("-" if pair == "- / -" else pair for pair in pairs)])
    return rows


def _ratio(points: list[Point], method: str, at: str, cost: str, target: float) -> str:
    order = descent_order(points, at) if method == DESCENT else None
    price, extrapolated = cost_at(curve(points, method, at, cost), target, order)
    ratio = price / cost_at(curve(points, f"{FLOW} Dopri8", at, cost), target)[0]
    if np.isnan(ratio):
        return "-"
    number = f"{ratio:.2g}" if ratio < 100 else f"{float(f'{ratio:.2g}'):,.0f}"
    return ("~" if extrapolated else "") + number


def _methods(points: list[Point]) -> list[str]:
    return list(dict.fromkeys(point.method for point in points))


def _rows(points: list[Point]) -> list[list[str]]:
    return [
        [
            p.method,
            f"{p.setting:.0e}",
            *(f"{e:.1e}" for e in (*p.middle, *p.end)),
            f"{p.evaluations}",
            _milliseconds(p.seconds),
            f"{p.compile:.1f}" if p.compile > 0.2 else "",
            p.note,
        ]
        for p in points
    ]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 1.0 else f"{1e3 * seconds:.0f}"


_HEADER = [
    "method",
    "rtol or step",
    "weights, middle",
    "h, middle",
    "weights, end",
    "h, end",
    "evaluations",
    "ms",
    "compile s",
    "note",
]


def _describe_problem(problem: dict[str, Any]) -> str:
    return (
        f"m = {problem['neurons']}, n = {problem['samples']}, {problem['events']} events to "
        f"t1 = {problem['t1']:g}; middle of the first drop: t = {problem['middle']:g}; rf.flow at "
        f"1e-13 and the reference differ by {problem['reference_difference']:.0e}"
    )


def _text(found, problems, markdown: bool) -> str:
    """Ratios first, then all numbers."""
    heading = (lambda text, level: f"{'#' * level} {text}") if markdown else (lambda text, _: text)
    parts = [heading("Work and precision", 1), describe(found)]
    columns = ["method", *(f"error {target:.0e}" for target in TARGETS)]
    for problem in problems:
        points = problem["points"]
        parts += [heading(problem["name"], 2), _describe_problem(problem)]
        for at, where in _AT.items():
            parts.append(
                f"Field evaluations / wall time over those of rf.RungeKutta() (Dopri8), at the "
                f"same error of the weights {where}:"
            )
            parts.append(table(columns, ratios(points, at), markdown))
        orders = ", ".join(f"{descent_order(points, at):.2f} {where}" for at, where in _AT.items())
        parts.append(f"Measured order of gradient descent: {orders}.")
        parts.append(table(_HEADER, _rows(points), markdown))
    return "\n\n".join(parts) + "\n"


def plot(problems: list[dict[str, Any]], at: str) -> Figure:
    """Error against evaluations, above, and against wall time, below; a column a problem."""
    count = len(problems)
    figure = Figure(figsize=(4.4 * count, 8.0) if count > 1 else (9.0, 8.0), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False, sharey=True)
    for column, problem in enumerate(problems):
        for row, cost in enumerate(_COST):
            _panel(axes[row, column], problem, at, cost)
            axes[row, column].set_xlabel(_COST[cost])
        axes[0, column].set_title(
            f"{problem['name']}  (m = {problem['neurons']}, n = {problem['samples']}, "
            f"{problem['events']} events)",
            fontsize=10,
        )
    for row in axes:
        row[0].set_ylabel("error of the weights over the largest neuron")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Error {_AT[at]}")
    return figure


def _panel(ax, problem, at: str, cost: str) -> None:
    points, failures = problem["points"], []
    for method in _methods(points):
        style = _STYLE[method]
        runs = [p for p in points if p.method == method]
        done = [p for p in runs if np.isfinite(getattr(p, at).weights)]
        price = [getattr(p, cost) for p in done]
        error = [getattr(p, at).weights for p in done]
        ax.plot(price, error, **style, markersize=4.5, linewidth=1.3, label=method)
        if method == DESCENT:
            _extrapolate(ax, points, at, cost, style["color"])
        failed = [p for p in runs if not np.isfinite(getattr(p, at).weights)]
        if failed:
            failures.append(f"{method} {len(failed)}/{len(runs)}")
    ax.set(xscale="log", yscale="log", ylim=(1e-14, 1.0))
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    if failures:
        failures.insert(0, "runs that stopped early:")
    ax.text(
        0.98,
        0.02,
        "\n".join(failures),
        transform=ax.transAxes,
        fontsize=8,
        va="bottom",
        ha="right",
        color="#555555",
    )


def _extrapolate(ax, points, at: str, cost: str, color: str) -> None:
    """Gradient descent down to 1e-6, by its measured order."""
    front = curve(points, DESCENT, at, cost)
    target = 1e-6
    if len(front) and front[-1, 0] > target:
        price, _ = cost_at(front, target, descent_order(points, at))
        ax.plot(
            [front[-1, 1], price],
            [front[-1, 0], target],
            ":",
            color=color,
            marker="s",
            markevery=[1],
            markerfacecolor="white",
            markersize=4.5,
            linewidth=1.3,
            label=f"{DESCENT}, extrapolated",
        )


def write(name: str, found: dict[str, Any], problems: list[dict[str, Any]]) -> None:
    """Prints the tables, and writes NAME.json, NAME.md and a plot for each time."""
    RESULTS.mkdir(exist_ok=True)
    print(_text(found, problems, markdown=False))
    (RESULTS / f"{name}.md").write_text(_text(found, problems, markdown=True))
    for at in _AT:
        plot(problems, at).savefig(RESULTS / f"{name}_{at}.png", dpi=130)
    plain = [
        {**problem, "points": [_as_dict(p) for p in problem["points"]]} for problem in problems
    ]
    document = {"environment": found, "problems": plain}
    (RESULTS / f"{name}.json").write_text(json_text(document, indent=1) + "\n")


def _as_dict(point: Point) -> dict[str, Any]:
    """With the names of what is in it."""
    return {**point._asdict(), **{at: getattr(point, at)._asdict() for at in _AT}}

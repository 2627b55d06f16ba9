"""Rows of `boost.py`: a number, what it should be, and whether it is; tables and files."""

import json
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import RESULTS, Case, Errors, Weights, describe, errors, table

import reluflow as rf
from reluflow._json import json_text

_TITLE = "rf.Boost: counts and ratios"
_HEADER = ["", "measured", "target", "", "how"]


class Row(NamedTuple):
    """bound: None where nothing is asked; at_least: it is a bound from below. NaN misses any."""

    what: str
    measured: float
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    def target(self) -> str:
        if self.bound is None:
            return ""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"

    def verdict(self) -> str:
        if self.bound is None:
            return ""
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "met" if met else "missed"

    def cells(self) -> list[str]:
        large = abs(self.measured) >= 1000.0
        number = f"{self.measured:.0f}" if large else f"{self.measured:.3g}"
        return [self.what, number, self.target(), self.verdict(), self.note]


class Group(NamedTuple):
    """Rows that were measured side by side, on one machine, and when and where that was."""

    environment: dict[str, Any]
    rows: list[Row]


def compiled(data: rf.Dataset, integrator, **settings):
    """run(net, rtol, t1): `rf.flow`, compiled once for every network of a shape."""

    def run(net, rtol, t1):
        return rf.flow(net, data, t1, rtol=rtol, integrator=integrator, throw=False, **settings)

    return jax.jit(run, compiler_options=rf.compiler_options())


def checked(sol: rf.Solution) -> rf.Solution:
    """`sol`, unless the flow did not get to its end."""
    if not bool((sol.result == rf.RESULTS.successful) | (sol.result == rf.RESULTS.loss_reached)):
        raise RuntimeError(f"t = {float(sol.stats['t_final']):.6g}: {rf.RESULTS[sol.result]}")
    return sol


def final_weights(sol: rf.Solution) -> Weights:
    return Weights(*(np.asarray(leaf)[None] for leaf in sol.final.weights()))


def final_error(data: rf.Dataset, found: Weights, exact: Weights) -> Errors:
    """Of the weights where a run ended: max_j |theta_j - theta_j*| / max_j |theta_j*|."""
    [error] = errors(Case("", data, None, 0.0, 0.0), found, exact)
    return error


def work(sol: rf.Solution) -> str:
    """Counts of a run, for a note."""
    stats = {name: np.asarray(value).item() for name, value in sol.stats.items()}
    return (
        f"{stats['num_accepted_steps']} accepted + {stats['num_rejected_steps']} rejected steps, "
        f"{stats['num_sweeps']} sweeps, {stats['num_events']} events, "
        f"loss {stats['loss_final']:.1e}"
    )


def text(groups: dict[str, Group], markdown: bool) -> str:
    heading = (lambda title, level: f"{'#' * level} {title}") if markdown else (lambda t, _: t)
    rows = [row for group in groups.values() for row in group.rows]
    missed = sum(row.verdict() == "missed" for row in rows)
    asked = sum(row.bound is not None for row in rows)
    parts = [heading(_TITLE, 1), f"{asked - missed} of {asked} targets met, {missed} missed."]
    for name, group in groups.items():
        cells = [row.cells() for row in group.rows]
        parts += [heading(name, 2), describe(group.environment), table(_HEADER, cells, markdown)]
    return "\n\n".join(parts) + "\n"


def write(name: str, measured: dict[str, Group], order: list[str]) -> None:
    """Prints the groups, and writes NAME.json and NAME.md with them in place of older ones."""
    RESULTS.mkdir(exist_ok=True)
    print(text(measured, markdown=False))
    path = RESULTS / f"{name}.json"
    kept = _read(path) if path.exists() else {}
    groups = {**kept, **measured}
    groups = {group: groups[group] for group in order if group in groups}
    document = {
        group: {
            "environment": found.environment,
            "rows": [{**row._asdict(), "verdict": row.verdict()} for row in found.rows],
        }
        for group, found in groups.items()
    }
    path.write_text(json_text(document, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(text(groups, markdown=True))


def _read(path) -> dict[str, Group]:
    def row(fields: dict[str, Any]) -> Row:
        measured = np.nan if fields["measured"] is None else fields["measured"]
        return Row(**{name: fields[name] for name in Row._fields})._replace(measured=measured)

    return {
        name: Group(group["environment"], [row(fields) for fields in group["rows"]])
        for name, group in json.loads(path.read_text()).items()
    }

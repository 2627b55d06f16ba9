"""START HERE: a grid from a TOML file, read as a whole and refused before anything is computed.

title = "..."                 seed = 0        static = [...]      times = 16
records = ["norm_ratio"]      of the names that `reluflow sweep --list` explains
[problem]   name or file, samples, dim, labels, teacher_neurons, draws
[start]     name, neurons, width, log_lambda or scale, draws
[flow]      t1, rtol, stop_loss, max_steps, integrator
[axes]      lists or ranges of what else would stand in one of these three tables; and seed
[[pictures]]                  what `reluflow show` draws
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._model._dataset import Dataset
from ..._support._checks import shortened
from .._own_data import read
from ._expression import LOG_LAMBDA, Expression
from ._measure import Measure
from ._pictures import Picture, read_pictures
from ._problems import PROBLEMS
from ._ranges import log_of_scale, values_of
from ._records import RECORDS
from ._refusals import GridError, check_keys, chosen, names_of, positive_integer, table_of
from ._starts import STARTS
from ._tables import INTEGRATORS, flow_values, problem_values, start_values

_TOP = (
    "title", "records", "seed", "static", "times", "problem", "start", "flow", "axes", "pictures",
)  # fmt: skip
_AXES = (
    "seed", "neurons", "log_lambda", "scale", "samples", "dim", "start", "file", "rtol",
    "stop_loss", "integrator",
)  # fmt: skip
_STATIC = ("samples", "dim")  # they set shapes


@dataclass(frozen=True)
class Grid:
    """What `rf.sweep` needs. settings: all that the measured numbers depend on, as text."""

    title: str
    measure: Measure
    axes: Mapping[str, list[Any]]
    static: tuple[str, ...]
    seed: int
    settings: Mapping[str, Any]
    pictures: tuple[Picture, ...]

    def first(self, counts: Mapping[str, int]) -> dict[str, list[Any]]:
        """The axes, of which some are cut after so many values."""
        return {name: values[: counts.get(name)] for name, values in self.axes.items()}


def read_grid(path: Path) -> Grid:
    """Raises GridError, with what is wrong in the file, or what it refers to."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GridError(f"{path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise GridError(f"{path} is no TOML: {error}.") from None
    return grid_of(given, path.parent)


def grid_of(given: Mapping[str, Any], folder: Path) -> Grid:
    """folder: where files of data are, whose names are relative."""
    check_keys("", given, _TOP)
    axes = _axes(table_of(given, "axes"))
    records = _records(given)
    files = _files(table_of(given, "problem"), axes, folder)
    values = problem_values(table_of(given, "problem"), axes)
    start, width = start_values(table_of(given, "start"), axes)
    values |= start | flow_values(table_of(given, "flow"), axes)
    _check_flow(values, axes, records)
    _check_orthogonal(values, files, records)
    static = _static(given, axes)
    if "neurons" not in axes or "neurons" in static:
        width = None
    draws = {part: _draws(table_of(given, part), part, axes) for part in ("problem", "start")}
    times = positive_integer("times", given.get("times", 16))
    measure = Measure(
        tuple(axes), values, files, width, draws["problem"], draws["start"], records, times
    )
    return Grid(
        title=str(given.get("title", "")),
        measure=measure,
        axes=axes,
        static=static,
        seed=_seed(given),
        settings=_settings(measure),
        pictures=read_pictures(given.get("pictures", []), records, tuple(axes)),
    )


def _seed(given: Mapping[str, Any]) -> int:
    value = given.get("seed", 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GridError(f"seed must be an integer from 0 on, but it is {shortened(value)}.")
    return value


def _axes(given: Mapping[str, Any]) -> dict[str, list[Any]]:
    if not given:
        raise GridError("There is no axis: the table [axes] must hold one at least.")
    check_keys("axes", given, _AXES)
    if "scale" in given and "log_lambda" in given:
        raise GridError("[axes] must have one of scale and log_lambda, but it has both.")
    axes = {}
    for name, values in given.items():
        if name == "scale":  # e^-10000 is a value like others: kept by its logarithm
            if isinstance(values, dict):
                values = values_of("scale", values)
            if not isinstance(values, list):
                raise GridError("axes.scale must be a list, or a range.")
            axes["log_scale"] = [log_of_scale("axes.scale", value) for value in values]
        else:
            axes[name] = values_of(name, values)
    for name, known in (("start", STARTS), ("integrator", INTEGRATORS)):
        for value in axes.get(name, []):
            chosen(f"{name} in axes.{name} called", value, known)
    return axes


def _records(given: Mapping[str, Any]) -> tuple[str, ...]:
    names = names_of(given, "records", "names of records, see `reluflow sweep --list`")
    if not names:
        raise GridError(
            "records must name what is measured, one record at least; `reluflow sweep --list` "
            "explains them."
        )
    for name in names:
        chosen("record called", name, RECORDS)
    flows = any(RECORDS[name].flows for name in names)
    # How a flow ended is kept with whatever is measured on it.
    return tuple(dict.fromkeys((*names, "result") if flows else names))


def _files(table: Mapping[str, Any], axes: Mapping[str, Any], folder: Path) -> dict[str, Dataset]:
    names = axes.get("file", [table["file"]] if "file" in table else [])
    for name in names:
        if not isinstance(name, str):
            raise GridError(f"problem.file must be a path, but it is {shortened(name)}.")
    try:
        return {name: read(folder / name) for name in names}
    except ValueError as error:
        raise GridError(str(error)) from None


def _check_flow(values: Mapping[str, Any], axes: Mapping[str, Any], records) -> None:
    """That a formula for t1 finds the lambda that it holds."""
    t1, starts = values["t1"], axes.get("start", [values["start"]])
    unscaled = [name for name in starts if not STARTS[name].scaled]
    if isinstance(t1, Expression) and LOG_LAMBDA in t1.names and unscaled:
        raise GridError(f"flow.t1 holds lambda, {t1.text!r}, which the start {unscaled[0]} lacks.")


def _check_orthogonal(values, files: Mapping[str, Dataset], records: tuple[str, ...]) -> None:
    needed = [name for name in records if RECORDS[name].orthogonal]
    if files:
        bad = [name for name, data in files.items() if not data.is_orthogonal()]
    else:
        bad = [] if PROBLEMS[values["problem"]].orthogonal else [values["problem"]]
    if needed and bad:
        raise GridError(
            f"The record {needed[0]} is defined for orthogonal inputs, which {bad[0]} has not."
        )


def _static(given: Mapping[str, Any], axes: Mapping[str, Any]) -> tuple[str, ...]:
    """What sets a shape always does; texts are static in any case."""
    named = names_of(given, "static", "names of axes")
    for name in named:
        chosen("axis in static called", name, tuple(axes))
    return tuple(name for name in axes if name in named or name in _STATIC)


def _draws(table: Mapping[str, Any], part: str, axes: Mapping[str, Any]) -> tuple[str, ...]:
    if "draws" not in table:
        return ("seed",) if "seed" in axes else ()
    names = names_of(table, "draws", "names of axes")
    for name in names:
        chosen(f"axis in {part}.draws called", name, tuple(axes))
    return names


def _settings(measure: Measure) -> dict[str, Any]:
    """As texts and numbers, for the store, which is of no use to others."""
    found: dict[str, Any] = {
        name: value.text if isinstance(value, Expression) else value
        for name, value in measure.given.items()
    }
    found["labels"] = str(found.get("labels"))
    found |= {
        "data_draws": " ".join(measure.data_draws),
        "start_draws": " ".join(measure.start_draws),
    }
    for name, data in measure.files.items():
        found[f"sha256 of {name}"] = _digest(data)
    return found


def _digest(data: Dataset) -> str:
    import hashlib

    import numpy as np

    parts = (np.asarray(data.x), np.asarray(data.y))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]

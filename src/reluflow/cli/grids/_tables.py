"""The tables [problem], [start] and [flow] of a grid: what they set, and what is refused."""

from collections.abc import Mapping
from typing import Any

from .._experiments import Integrator
from ._expression import LOG_LAMBDA, Expression
from ._problems import PROBLEMS, read_labels
from ._ranges import log_of_scale
from ._refusals import GridError, check_keys, chosen, number, positive_integer
from ._starts import STARTS

_PROBLEM = ("name", "file", "samples", "dim", "labels", "teacher_neurons", "draws")
_START = ("name", "neurons", "width", "log_lambda", "scale", "draws")
_FLOW = ("t1", "rtol", "stop_loss", "max_steps", "integrator")
_NUMBERS = ("samples", "dim", "neurons", "D_plus", "D_minus", LOG_LAMBDA)
REST = "rest"
INTEGRATORS = ("auto", *(name.value for name in Integrator))


def given_in(table: str, key: str, values: Mapping[str, Any], axes: Mapping[str, Any]) -> bool:
    """Whether the table holds it; refuses what stands among the axes as well."""
    axis = "log_scale" if key == "scale" else key
    if key in values and axis in axes:
        raise GridError(f"{table}.{key} must stand in [{table}] or in [axes], but it is in both.")
    return key in values


def problem_values(table: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    check_keys("problem", table, _PROBLEM)
    own = given_in("problem", "file", table, axes) or "file" in axes
    if own == ("name" in table):
        raise GridError("[problem] must have one of `name` and `file`.")
    if own:
        for key in ("samples", "dim", "labels", "teacher_neurons"):
            if key in table or key in axes:
                raise GridError(f"{key} is given by the file of one's own, and must be left out.")
        return {"file": table.get("file"), "problem": None}
    name = chosen("problem called", table["name"], PROBLEMS)
    known = dict(PROBLEMS[name].parameters)
    for key in (*_PROBLEM[2:-1], *("samples", "dim")):
        if (key in table or key in axes) and key not in known:
            raise GridError(f"The problem {name} has no choice of {key}.")
    for key in known:
        if given_in("problem", key, table, axes):
            value = table[key]
            known[key] = (
                read_labels(value) if key == "labels" else positive_integer(f"problem.{key}", value)
            )
    if known.get("samples", 0) is None and "samples" not in axes:
        raise GridError(f"The problem {name} needs samples, in [problem] or in [axes].")
    _check_dim(name, known, axes)
    return {"file": None, "problem": name} | known


def _check_dim(name: str, known: Mapping[str, Any], axes: Mapping[str, list[Any]]) -> None:
    dims, samples = axes.get("dim", [known.get("dim")]), axes.get("samples", [known.get("samples")])
    if name == "orthonormal" and None not in dims and min(dims) < max(samples):
        raise GridError(
            f"dim must be at least samples for orthonormal inputs to exist, but it is {min(dims)} "
            f"beside {max(samples)} samples."
        )


def start_values(
    table: Mapping[str, Any], axes: Mapping[str, Any]
) -> tuple[dict[str, Any], int | None]:
    """What it sets, and the width of which a traced number of neurons is active."""
    check_keys("start", table, _START)
    found: dict[str, Any] = {"log_lambda": None, "log_scale": None}
    # The axis of starts is named as their table's key `name` would be.
    if "name" in table and "start" in axes:
        raise GridError("start.name must stand in [start] or in [axes], but it is in both.")
    name = chosen("start called", table.get("name", "balanced"), STARTS)
    found["start"] = name
    found["neurons"] = _neurons(table, axes)
    scaled = any(STARTS[each].scaled for each in axes.get("start", [name]))
    sizes = [key for key in ("log_lambda", "scale") if given_in("start", key, table, axes)]
    known = len(sizes) + len({"log_lambda", "log_scale"} & set(axes))
    if known != scaled:
        raise GridError(
            f"The start {name} must have one of log_lambda and scale, in [start] or in [axes]."
            if scaled
            else f"The start {name} has no lambda: leave log_lambda and scale out."
        )
    if "log_lambda" in sizes:
        value = table["log_lambda"]
        formula = isinstance(value, str)
        found["log_lambda"] = (
            Expression("start.log_lambda", value, (*_NUMBERS[:-1], *_numeric(axes)))
            if formula
            else number("start.log_lambda", value)
        )
    if "scale" in sizes:
        found["log_scale"] = log_of_scale("start.scale", table["scale"])
    width = max(axes.get("neurons", [1]))
    if "width" in table:
        width = positive_integer("start.width", table["width"])
        if width < max(axes.get("neurons", [0])):
            raise GridError(f"start.width is {width}, which is less than some of axes.neurons.")
    return found, width


def _neurons(table: Mapping[str, Any], axes: Mapping[str, Any]) -> Any:
    if not given_in("start", "neurons", table, axes):
        if "neurons" not in axes:
            raise GridError("The width is missing: give neurons, in [start] or in [axes].")
        return None
    value = table["neurons"]
    if isinstance(value, str):  # of what sets a shape anyway
        return Expression("start.neurons", value, ("samples", "dim"))
    return positive_integer("start.neurons", value)


def _numeric(axes: Mapping[str, list[Any]]) -> tuple[str, ...]:
    return tuple(name for name, values in axes.items() if not isinstance(values[0], str))


def flow_values(table: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    check_keys("flow", table, _FLOW)
    found: dict[str, Any] = {"t1": None, "rtol": 1e-8, "stop_loss": None, "max_steps": None}
    t1 = table.get("t1", REST)
    if isinstance(t1, str) and t1.strip() != REST:
        found["t1"] = Expression("flow.t1", t1, (*_NUMBERS, *_numeric(axes)))
    elif not isinstance(t1, str):
        found["t1"] = _positive("flow.t1", t1)
    for key in ("rtol", "stop_loss"):
        if given_in("flow", key, table, axes):
            found[key] = _positive(f"flow.{key}", table[key])
    for value in (*axes.get("rtol", []), found["rtol"]):
        if not 1e-13 <= value <= 1e-1:
            raise GridError(f"rtol must be between 1e-13 (float64) and 0.1, but it is {value}.")
    if "max_steps" in table:
        found["max_steps"] = positive_integer("flow.max_steps", table["max_steps"])
    given_in("flow", "integrator", table, axes)
    found["integrator"] = chosen("integrator called", table.get("integrator", "auto"), INTEGRATORS)
    return found


def _positive(key: str, value: Any) -> float:
    if not number(key, value) > 0.0:
        raise GridError(f"{key} must be positive, but it is {value}.")
    return float(value)

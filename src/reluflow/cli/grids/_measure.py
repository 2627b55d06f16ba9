"""What a grid measures at a point: a function for `rf.sweep` that other processes can load."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from ... import theory
from ..._boost import Boost
from ..._model._dataset import Dataset
from ...sweep import Point
from .._experiments import Integrator
from .._integrators import INTEGRATORS
from ._expression import Expression
from ._measured import Measured, Settings
from ._problems import PROBLEMS
from ._records import RECORDS
from ._starts import STARTS

_DATA, _NET = 0, 1  # keys of their own


@dataclass(frozen=True)
class Measure:
    """A callable of one point.

    axes: the names of the grid's axes, whose values stand in the place of what is `given`: numbers,
        texts and formulas, by the name of what they set. files: data of one's own, by name.
    width: the neurons that every network has, of which as many are active as the axis says; None
        where a width has a program of its own.
    data_draws, start_draws: the axes along which data and start are drawn anew.
    """

    axes: tuple[str, ...]
    given: Mapping[str, Any]
    files: Mapping[str, Dataset]
    width: int | None
    data_draws: tuple[str, ...]
    start_draws: tuple[str, ...]
    records: tuple[str, ...]
    times: int

    def __call__(self, point: Point) -> dict[str, Any]:
        values = {name: getattr(point, name) for name in self.axes}
        here = self._measured(point, dict(self.given) | values)
        return {name: RECORDS[name].measure(here) for name in self.records}

    def _measured(self, point: Point, given: dict[str, Any]) -> Measured:
        data = self._data(jr.fold_in(point.key(*self.data_draws), _DATA), given)
        numbers = self._numbers(data, given)
        neurons = given["neurons"]
        if isinstance(neurons, Expression):
            neurons = round(neurons(numbers))
        numbers["neurons"] = neurons
        start = STARTS[given["start"]]
        if start.scaled:
            numbers["log_lambda"] = _log_lambda(given, numbers)
        width, active = (neurons, None) if self.width is None else (self.width, neurons)
        key = jr.fold_in(point.key(*self.start_draws), _NET)
        net = start.make(key, width, data.dim, numbers.get("log_lambda"), active)
        return Measured(net, data, neurons, self.times, self._settings(given, numbers))

    def _data(self, key: jax.Array, given: dict[str, Any]) -> Dataset:
        if (file := given.get("file")) is not None:
            return self.files[file]
        return PROBLEMS[given["problem"]].make(key, given)

    def _numbers(self, data: Dataset, given: dict[str, Any]) -> dict[str, Any]:
        """What a formula may hold."""
        return {name: given[name] for name in self.axes if not isinstance(given[name], str)} | {
            "samples": data.samples,
            "dim": data.dim,
            "D_plus": jnp.linalg.norm(theory.D_plus(data)),
            "D_minus": jnp.linalg.norm(theory.D_minus(data)),
        }

    def _settings(self, given: dict[str, Any], numbers: dict[str, Any]) -> Settings:
        t1, name = given["t1"], given["integrator"]
        path = any(RECORDS[record].of == "path" for record in self.records)
        if name == "auto":
            # A step of rf.Boost may cross a plateau and the drop after it.
            name = "dopri8" if path or STARTS[given["start"]].large else "boost"
        integrator = INTEGRATORS[Integrator(name)]()
        file = given.get("file")
        fixed = self.files[file].is_orthogonal() if file is not None else False
        if file is None and PROBLEMS[given["problem"]].orthogonal:
            fixed = True
        if fixed:  # nothing slides, which traced data do not show
            integrator = without_sliding(integrator)
        return Settings(
            t1=t1(numbers) if isinstance(t1, Expression) else t1,
            rtol=given["rtol"],
            stop_loss=given["stop_loss"],
            max_steps=given["max_steps"],
            integrator=integrator,
            path=path,
        )


def _log_lambda(given: dict[str, Any], numbers: dict[str, Any]) -> Any:
    """lambda itself, or by scale = lambda (m d)^(1/2), as `reluflow run` has it."""
    if given.get("log_scale") is None:
        log_lambda = given["log_lambda"]
        return log_lambda(numbers) if isinstance(log_lambda, Expression) else log_lambda
    size = jnp.asarray(numbers["neurons"], jnp.float64) * numbers["dim"]
    return jnp.asarray(given["log_scale"], jnp.float64) - 0.5 * jnp.log(size)


def without_sliding(integrator: Any) -> Any:
    if isinstance(integrator, Boost):
        return Boost(max_sliding=0)
    return type(integrator)(integrator.solver, max_sliding=0)

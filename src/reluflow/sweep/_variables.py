"""What is measured at every point: arrays of fixed shapes, and codes that have names."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import shortened
from .._results import RESULTS
from ._axes import can_follow_a_dot

# How a point itself fared, whatever was measured there; stored as the variable `status`.
STATUS = {"not_run": -1, "complete": 0, "raised": 1, "worker_lost": 2}
_RESERVED = ("status", "sweep")  # the latter is a folder in the store
_ITEM: Any = type(RESULTS.successful)  # of any enumeration of Equinox
_ENDED_WELL = ("successful", "loss_reached", "rest_reached")  # as in `_results.ended_well`


@dataclasses.dataclass(frozen=True)
class Variable:
    """One of the arrays that are measured: at every point `shape` numbers of one type.

    Where it is a code, of `rf.RESULTS` or another enumeration of Equinox, `flags` are its names,
    in the order of their numbers, and `good` those that are no failure.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    flags: tuple[str, ...] = ()
    good: tuple[str, ...] = ()

    @property
    def missing(self) -> Any:
        """What stands where nothing was measured; `status` says where that is."""
        kind = np.dtype(self.dtype).kind
        return {"f": np.nan, "c": np.nan, "i": -1}.get(kind, 0)

    def failed(self, values: np.ndarray) -> np.ndarray:
        """Which points have a code that is a failure."""
        if not self.good:
            return np.zeros(len(values), bool)
        bad = [code for code, name in enumerate(self.flags) if name not in self.good]
        return np.asarray(np.isin(values, bad).reshape(len(values), -1).any(axis=1))

    def described(self) -> str:
        kind = "code" if self.flags else self.dtype
        return f"{self.name}: {kind}{list(self.shape)}"


def described(variables: tuple[Variable, ...]) -> str:
    return ", ".join(variable.described() for variable in variables)


def flattened(measured: Any, axes: Sequence[str]) -> tuple[tuple[Variable, ...], list[jax.Array]]:
    """What `measure` returned, as variables and their arrays, in the order of the names.

    Raises:
        TypeError, ValueError: it is no dict from names, which are none of axes, to arrays.
    """
    if not isinstance(measured, Mapping) or not measured:
        raise TypeError(
            "Argument `measure` must return a dict from names to arrays, with one entry at least, "
            f"but it returns {shortened(measured)}."
        )
    for name in measured:
        if not can_follow_a_dot(name) or name in (*_RESERVED, *axes):
            raise ValueError(
                "Argument `measure` must return names that can follow `ds.`, and neither `status` "
                f"nor `sweep` nor that of an axis, but it returns {name!r}."
            )
    pairs = [_variable(name, measured[name]) for name in sorted(measured)]
    return tuple(variable for variable, _ in pairs), [array for _, array in pairs]


def _variable(name: str, value: Any) -> tuple[Variable, jax.Array]:
    if isinstance(value, _ITEM):
        kind, code = value._enumeration, jnp.asarray(value._value, jnp.int32)
        flags = tuple(
            sorted(kind._name_to_item, key=lambda name: int(kind._name_to_item[name]._value))
        )
        good = tuple(flag for flag in flags if flag in _ENDED_WELL) if kind is RESULTS else ()
        return Variable(name, code.shape, "int32", flags, good), code
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(
            f"Argument `measure` must return arrays of numbers or codes of rf.RESULTS, but "
            f"{name!r} is {shortened(value)}."
        )
    return Variable(name, array.shape, str(np.dtype(array.dtype))), array


def failures(variables: tuple[Variable, ...], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Which points failed: a bad status of their own, or a bad code that was measured."""
    failed = arrays["status"] > STATUS["complete"]
    for variable in variables:
        failed = failed | (variable.failed(arrays[variable.name]) & (arrays["status"] == 0))
    return failed


def failure_names(variables: tuple[Variable, ...], arrays: dict[str, np.ndarray]) -> list[str]:
    """The names of the codes of the points that failed, each once."""
    status = {code: name for name, code in STATUS.items() if code > 0}
    names = [status[code] for code in np.unique(arrays["status"]).tolist() if code in status]
    for variable in variables:
        if variable.good:
            codes = np.unique(arrays[variable.name][arrays["status"] == STATUS["complete"]])
            found = [variable.flags[code] for code in codes.tolist() if code >= 0]
            names += [name for name in found if name not in variable.good]
    return names

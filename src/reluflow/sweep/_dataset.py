"""From slots back to the grid: an `xarray.Dataset` that describes itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray

from .._json import json_text
from .._support._checks import shortened
from ._axes import Axis
from ._memory import STATUS_VARIABLE, empty, stored
from ._plan import Plan
from ._variables import STATUS, Variable


def places(plan: Plan, order: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """Where each slot is on the grid of these axes, as one number; -1 where it is not on it."""
    shape = tuple(len(axis.values) for axis in axes)
    onto = []
    for known, asked in zip(plan.axes, axes, strict=True):
        # (The empty slots are at position -1, thus at the last entry.)
        onto.append(np.append(asked.find(known.values), -1)[order[:, len(onto)]])
    positions = np.stack(onto)
    outside = (positions < 0).any(axis=0)
    flat = np.ravel_multi_index(tuple(positions.clip(min=0)), shape)
    return np.where(outside, -1, flat)


def dataset(
    plan: Plan,
    order: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    axes: Sequence[Axis],
    describe: Mapping[str, Mapping[str, Any]],
) -> xarray.Dataset:
    """The grid of these axes. A point that was run twice has what was found last."""
    shape = tuple(len(axis.values) for axis in axes)
    place = places(plan, order, axes)
    use = (place >= 0) & (arrays["status"] != STATUS["not_run"])
    variables = {}
    for variable in stored(plan):
        flat = empty(variable, int(np.prod(shape)))
        # (Where places repeat, NumPy keeps the last value, that of the last slot.)
        flat[place[use]] = arrays[variable.name][use]
        trailing, own = _described(variable, describe)
        dims = (*(axis.name for axis in axes), *trailing)
        values = flat.reshape(shape + variable.shape)
        variables[variable.name] = (dims, values, _attributes(variable) | own)
    coordinates = {}
    for axis in axes:
        own = {"long_name": axis.name.replace("_", " ")} | dict(describe.get(axis.name, {}))
        coordinates[axis.name] = (axis.name, axis.values, own)
    return xarray.Dataset(variables, coordinates, _settings(plan))


def _described(variable: Variable, describe) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the variable's own dimensions, and its attributes."""
    own = dict(describe.get(variable.name, {}))
    names = own.pop("dims", None)
    if names is None:
        names = [f"{variable.name}_{k}" for k in range(len(variable.shape))]
    return (names,) if isinstance(names, str) else tuple(names), own


def check_described(
    plan: Plan, axes: Sequence[Axis], describe: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raises where no dataset could be made of what is found, before anything is run."""
    for name, own in describe.items():
        if not isinstance(own, Mapping):
            raise TypeError(
                "Argument `describe` must hold dicts of attributes, but that of "
                f"{name!r} is {shortened(own)}."
            )
    taken = {axis.name for axis in axes} | {variable.name for variable in stored(plan)}
    sizes: dict[str, tuple[int, str]] = {}
    for variable in stored(plan):
        names, _ = _described(variable, describe)
        bad = f"{len(names)} of them" if len(names) != len(variable.shape) else None
        if len(set(names)) < len(names):
            bad = "one of them twice"
        for name, size in zip(names, variable.shape, strict=False):
            if name in taken:
                bad = bad or f"{name!r}, the name of an axis or variable"
            known, other = sizes.setdefault(name, (size, variable.name))
            if known != size:
                bad = bad or f"{name!r} for {size} entries, which is {known} of {other!r}"
        if bad is not None:
            raise ValueError(
                f"Argument `describe` must name the {len(variable.shape)} own dimensions of "
                f"{variable.name!r}, as in {{{variable.name!r}: {{'dims': ['time']}}}}, but they "
                f"are {', '.join(map(repr, names)) or 'none'}: {bad}."
            )


def _attributes(variable: Variable) -> dict[str, Any]:
    found: dict[str, Any] = {"long_name": variable.name.replace("_", " ")}
    flags = list(enumerate(variable.flags))
    if variable == STATUS_VARIABLE:
        flags = [(code, name) for name, code in STATUS.items()]
    if not flags:
        return found | {"units": "1"}
    return found | {
        "flag_values": np.array([code for code, _ in flags], variable.dtype),
        "flag_meanings": " ".join(name for _, name in flags),
    }


def _settings(plan: Plan) -> dict[str, Any]:
    """All of them, in types that any format of files takes."""
    lanes = [segment.lanes for segment in plan.segments]
    return {
        "title": "A sweep of reluflow",
        "seed": plan.settings["seed"],
        "static": " ".join(axis.name for axis in plan.axes if axis.static),
        "settings": json_text(plan.settings),
        "versions": json_text(plan.versions),
        "chunk": plan.chunk,
        "devices": plan.devices,
        "lanes": lanes[0] if len(set(lanes)) == 1 else lanes,
        "halved": json_text(plan.halved),
    }


def failed_points(
    plan: Plan, order: np.ndarray, failed: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The points that failed when they were run last, as positions; none that are to run."""
    place = places(plan, order, plan.axes)
    last = np.full(int(np.prod([len(axis.values) for axis in plan.axes])), -1)
    used = np.flatnonzero(place >= 0)
    last[place[used]] = used  # the last slot of each point
    slots = np.sort(last[last >= 0])
    run = arrays["status"][slots] != STATUS["not_run"]
    return order[slots[run & failed[slots]]]

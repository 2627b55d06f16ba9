"""Makes, extends or goes on with what a sweep is kept in, and refuses what does not fit it."""

import dataclasses
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import shortened
from ._axes import Axis
from ._code import versions
from ._memory import Memory
from ._plan import Plan, add_segments, arranged, chunk_length, grid, missing
from ._running import Experiment, Keeper, check_variables
from ._variables import failures


@dataclasses.dataclass
class Request:
    """What a call of `rf.sweep` asks for, as far as the plan depends on it."""

    experiment: Experiment
    settings: dict[str, Any]
    devices: list[Any]
    batch: int | None  # None where it is automatic
    lanes: int  # on a device
    chunk: int | None
    parts: int
    cost: Callable[[Any], Any] | None
    rerun: bool

    def new_plan(self) -> tuple[Plan, np.ndarray]:
        """(plan, order), for all points of the grid."""
        experiment = self.experiment
        axes, points = experiment.axes, grid(experiment.axes)
        groups = arranged(axes, points, self.cost)
        largest = max(map(len, groups))
        # At least a chunk for each part, and no more lanes than a chunk has slots.
        lanes = min(self.lanes, -(-largest // (self.parts * len(self.devices))))
        length = self.chunk
        if length is None:
            length = chunk_length(lanes, len(points))
            if self.parts > 1:
                length = min(length, lanes * -(-largest // (lanes * self.parts)))
        variables = None
        for group in groups:
            found = experiment.traced(group[0]).variables
            check_variables(variables or found, found, experiment.static(group[0]))
            variables = found
        assert variables is not None
        made = versions(self.devices)
        shape = (length, self.batch, len(self.devices))
        plan = Plan(axes, self.settings, made, variables, *shape)
        return plan, add_segments(plan, groups, lanes, experiment.code)


def as_kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As a store gives them back, where pairs are lists and all names are texts.

    Raises:
        TypeError: they hold what a store cannot.
    """
    try:
        kept = json.loads(json.dumps(settings, default=lambda value: value.tolist()))
    except (TypeError, ValueError, AttributeError):
        kept = None
    if not isinstance(kept, dict):
        raise TypeError(
            "Argument `settings` must be a dict of numbers, texts, and lists and dicts of these, "
            f"but it is {shortened(settings)}."
        )
    return kept


def opened_memory(request: Request) -> Memory:
    return Memory(*request.new_plan())


def opened_store(path: Path, request: Request) -> Any:
    """The store at this path, which holds a plan for all points that are asked for.

    Raises:
        ValueError: it was made with other settings, or holds something else.
        OSError: it cannot be written.
    """
    from ._store import Store  # needs zarr

    store = Store(path)
    try:
        with store.locks.metadata():
            store.clean_metadata()
            if store.load():
                _fitted(store, request)
            else:
                store.create(*request.new_plan())
    except BaseException:
        store.locks.close()
        raise
    return store


def _fitted(store: Any, request: Request) -> None:
    """Extends the store by what is asked for and not in it; refuses where settings differ."""
    experiment, plan = request.experiment, store.plan
    differing = _differing(plan, request)
    if differing:
        raise ValueError(
            f"Argument `store` must be a store of the same settings, but in {store.path} "
            f"{'; '.join(differing)}. Choose another store, or remove this one."
        )
    _warn_of_changes(store, request)
    pairs = list(zip(plan.axes, experiment.axes, strict=True))
    axes = tuple(known.extended(asked) for known, asked in pairs)
    asked = grid(experiment.axes)
    for k, (axis, (_, wanted)) in enumerate(zip(axes, pairs, strict=True)):
        asked[:, k] = axis.find(wanted.values)[asked[:, k]]
    groups = arranged(axes, missing(axes, asked, store.order), request.cost)
    failed = _failed(store, axes, asked) if request.rerun else []
    if not groups and not failed:
        _take_lanes(store, request)
        return
    longer = dataclasses.replace(plan, axes=axes, segments=list(plan.segments))
    order = [
        add_segments(longer, groups, request.lanes, experiment.code),
        add_segments(longer, failed, request.lanes, experiment.code, rerun=True),
    ]
    # What the axes are extended by may be of a new static shape.
    wider = experiment.on(axes)
    for group in groups:
        found = wider.traced(group[0]).variables
        check_variables(plan.variables, found, wider.static(group[0]))
    store.extend(longer, np.concatenate(order))
    _take_lanes(store, request)


def _failed(store: Any, axes: tuple[Axis, ...], asked: np.ndarray) -> list[np.ndarray]:
    """Those of the points asked for that failed, of each static shape."""
    from ._dataset import failed_points

    arrays, _ = store.read()  # (What is corrupt is run again anyway.)
    bad = failures(store.plan.variables, arrays)
    points = failed_points(store.plan, store.order, bad, arrays)
    elsewhere = missing(axes, points, asked)
    return arranged(axes, missing(axes, points, elsewhere), None)


def _take_lanes(store: Any, request: Request) -> None:
    """Other batches where the user asks for others; the chunks stay where they are.

    Otherwise those of the store, whatever the number of devices is now: then the numbers are the
    same bit for bit.
    """
    if request.batch in (None, store.plan.batch):
        return
    lanes = min(request.lanes, store.plan.chunk)
    for segment in store.plan.segments:
        segment.lanes = min(lanes, max(1, segment.points))


def _differing(plan: Plan, request: Request) -> list[str]:
    """What differs, in words."""
    axes = request.experiment.axes
    found = []
    for what, known, asked in (
        ("the axes", [a.name for a in plan.axes], [a.name for a in axes]),
        (
            "the static axes",
            [a.name for a in plan.axes if a.static],
            [a.name for a in axes if a.static],
        ),
        ("the types of the axes", [a.kind for a in plan.axes], [a.kind for a in axes]),
        ("`chunk`", plan.chunk, request.chunk or plan.chunk),
        *(
            (f"`{name}`", plan.settings.get(name), request.settings.get(name))
            for name in dict.fromkeys([*plan.settings, *request.settings])
        ),
    ):
        if known != asked and json.dumps(known) != json.dumps(asked):  # NaN is as NaN is written
            found.append(f"{what}: {_words(known)}, asked for now {_words(asked)}")
    return found


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else repr(value)


def _warn_of_changes(store: Any, request: Request) -> None:
    code = request.experiment.code
    if not request.rerun and any(segment.code != code for segment in store.plan.segments):
        warnings.warn(
            f"`measure` has changed since {store.path} was begun: what is complete there was "
            "measured by the code of that time.",
            stacklevel=4,
        )
    made, now = store.plan.versions, versions(request.devices)
    changed = [
        f"{name} {made.get(name)} to {now[name]}" for name in now if made.get(name) != now[name]
    ]
    if changed:
        warnings.warn(
            f"What {store.path} was begun with has changed ({', '.join(changed)}): the last bits "
            "of what is run from here on may differ from those of an uninterrupted sweep.",
            stacklevel=4,
        )


def wanted_chunks(keeper: Keeper, axes: tuple[Axis, ...]) -> set[int]:
    """The chunks that hold a point of the grid of these axes."""
    from ._dataset import places

    slots = np.flatnonzero(places(keeper.plan, keeper.order, axes) >= 0)
    return set(np.unique(slots // keeper.plan.chunk).tolist())

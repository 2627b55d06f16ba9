"""Which point is run where: the plan of a store, made once and then only extended.

Points lie on one flat axis of slots, in the order of execution. The slots are cut into chunks of a
fixed length, which are written as a whole. A segment is a run of chunks whose points share one
static shape, thus one program; its last chunk may have empty slots at the end.

A chunk is run in shards: runs of `lanes` slots, each on one device. A shard holds the same points
at the same places whatever the number of devices, whatever was run before and in which order; so
what a lane returns is the same bit for bit however often the sweep was interrupted.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._axes import Axis
from ._variables import Variable

_FEWEST, _MOST_CHUNKS = 64, 4096  # slots in a chunk, and chunks of a store when it is made


@dataclasses.dataclass
class Segment:
    start: int  # its first slot, the first of a chunk
    points: int
    lanes: int  # on a device
    code: str  # of `measure`, when the segment was made
    rerun: bool = False

    def chunks(self, length: int) -> range:
        first = self.start // length
        return range(first, first + -(-self.points // length))

    def slots(self, chunk: int, length: int) -> np.ndarray:
        """The slots of a chunk that hold points."""
        return np.arange(chunk * length, min((chunk + 1) * length, self.start + self.points))

    def shards(self, chunk: int, length: int) -> list[np.ndarray]:
        """The slots of each shard; the last one is shorter where the chunk ends."""
        slots = self.slots(chunk, length)
        return [slots[k : k + self.lanes] for k in range(0, len(slots), self.lanes)]


@dataclasses.dataclass
class Plan:
    axes: tuple[Axis, ...]
    settings: dict[str, Any]  # of which none may differ
    versions: dict[str, Any]  # of which a difference changes no more than rounding
    variables: tuple[Variable, ...]
    chunk: int
    batch: int | None  # that was asked for when the store was made; None if it was automatic
    devices: int
    segments: list[Segment] = dataclasses.field(default_factory=list)
    # From which chunk on a segment was run with other lanes: for its memory, or its time.
    halved: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def slots(self) -> int:
        """How many there are, those at the ends of segments that hold no point among them."""
        if not self.segments:
            return 0
        return (self.segments[-1].chunks(self.chunk).stop) * self.chunk

    @property
    def chunks(self) -> int:
        return self.slots // self.chunk

    def to_json(self) -> dict[str, Any]:
        axes = [
            {"name": a.name, "kind": a.kind, "static": a.static, "values": a.values.tolist()}
            for a in self.axes
        ]
        return dataclasses.asdict(self) | {"axes": axes}

    @classmethod
    def from_json(cls, numbers: dict[str, Any]) -> "Plan":
        kinds = {"int": np.int64, "float": np.float64, "bool": np.bool_, "text": np.str_}
        axes = [
            Axis(a["name"], np.asarray(a["values"], kinds[a["kind"]]), a["static"])
            for a in numbers["axes"]
        ]
        variables = [
            Variable(v["name"], tuple(v["shape"]), v["dtype"], tuple(v["flags"]), tuple(v["good"]))
            for v in numbers["variables"]
        ]
        segments = [Segment(**segment) for segment in numbers["segments"]]
        read = {"axes": tuple(axes), "variables": tuple(variables), "segments": segments}
        return cls(**(numbers | read))


def grid(axes: Sequence[Axis]) -> np.ndarray:
    """All points, as positions on the axes: int32 (points, axes)."""
    shape = [len(axis.values) for axis in axes]
    positions = np.indices(shape, np.int32).reshape(len(shape), -1).T
    return np.ascontiguousarray(positions)


def missing(axes: Sequence[Axis], asked: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Those of the points asked for that have no slot yet."""
    if not len(order):
        return asked
    shape = [len(axis.values) for axis in axes]
    known = np.ravel_multi_index(tuple(order[order[:, 0] >= 0].T), shape)
    return asked[~np.isin(np.ravel_multi_index(tuple(asked.T), shape), known)]


def arranged(
    axes: Sequence[Axis], points: np.ndarray, cost: Callable[[Any], Any] | None
) -> list[np.ndarray]:
    """The points of each static shape, in the order of execution: neighbours cost alike.

    A batch takes as long as its slowest lane. By default the axis with the most values, which is
    as a rule that of the seeds, varies fastest, so that the points of a batch differ in little
    else. With `cost`, the points are sorted by it.
    """
    groups = _by_static(axes, points)
    sizes = [0 if axis.static else len(axis.values) for axis in axes]
    fastest_first = sorted(range(len(axes)), key=lambda k: -sizes[k])
    ordered = []
    for group in groups:
        group = group[np.lexsort([group[:, k] for k in fastest_first])]
        if cost is not None:
            predicted = _predicted(axes, group, cost)
            group = group[np.argsort(predicted, kind="stable")]
        ordered.append(group)
    return ordered


def _by_static(axes: Sequence[Axis], points: np.ndarray) -> list[np.ndarray]:
    columns = [k for k, axis in enumerate(axes) if axis.static]
    if not columns:
        return [points] if len(points) else []
    shape = [len(axes[k].values) for k in columns]
    kind = np.ravel_multi_index(tuple(points[:, k] for k in columns), shape)
    order = np.argsort(kind, kind="stable")
    edges = np.flatnonzero(np.diff(kind[order])) + 1
    return [points[part] for part in np.split(order, edges) if len(part)]


class Points:
    """Many points at once, whose values are arrays; what a prediction of costs is given."""

    def __init__(self, axes: Sequence[Axis], positions: np.ndarray):
        for k, axis in enumerate(axes):
            setattr(self, axis.name, axis.values[positions[:, k]])


def _predicted(axes, group: np.ndarray, cost: Callable[[Any], Any]) -> np.ndarray:
    predicted = np.asarray(cost(Points(axes, group)))
    if predicted.shape not in ((), (len(group),)) or predicted.dtype.kind not in "iufb":
        raise ValueError(
            "Argument `cost` must return one number a point, an array of shape "
            f"({len(group)},), but it returns one of shape {predicted.shape} and dtype "
            f"{predicted.dtype}."
        )
    return np.broadcast_to(predicted, (len(group),))


def chunk_length(lanes: int, points: int) -> int:
    """Slots in a chunk: whole shards, enough that a large sweep has not too many files."""
    least = max(_FEWEST, -(-points // _MOST_CHUNKS))
    return lanes * -(-least // lanes)


def add_segments(
    plan: Plan, groups: list[np.ndarray], lanes: int, code: str, rerun: bool = False
) -> np.ndarray:
    """Appends the groups to the plan; returns their order: int32 (new slots, axes), -1 if empty."""
    rows = []
    for group in groups:
        few = min(lanes, plan.chunk, -(-len(group) // plan.devices))
        plan.segments.append(Segment(plan.slots, len(group), max(few, 1), code, rerun))
        rows.append(group)
        rows.append(np.full((-len(group) % plan.chunk, len(plan.axes)), -1, np.int32))
    return np.concatenate(rows) if rows else np.zeros((0, len(plan.axes)), np.int32)

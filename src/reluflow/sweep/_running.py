"""From the slots of a plan to inputs of a program, and from its outputs back to chunks."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ._axes import Axis
from ._plan import Plan, Segment
from ._program import Inputs, Traced
from ._variables import STATUS, Variable, described


@runtime_checkable  # for the checks of annotations in tests
class Keeper(Protocol):
    """Who holds what was found: `Memory` or `Store`."""

    plan: Plan
    order: np.ndarray

    def complete(self) -> set[int]: ...
    def claim(self, chunk: int, wait: bool = False) -> bool: ...
    def release(self, chunk: int) -> None: ...
    def write(self, chunk: int, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None: ...
    def halve(self, segment: int, lanes: int, chunk: int) -> None: ...
    def read(self) -> tuple[dict[str, np.ndarray], list[int]]: ...


@dataclasses.dataclass
class Experiment:
    """What is asked at every point, and the numbers of the points."""

    measure: Callable[[Any], Any]
    axes: tuple[Axis, ...]
    base: np.ndarray
    impl: str
    code: str  # a digest of what `measure` is made of

    def __post_init__(self):
        self._words = [axis.words() for axis in self.axes]
        self._traced: dict[tuple, Traced] = {}

    def on(self, axes: tuple[Axis, ...]) -> "Experiment":
        """The same on axes of the same names and types, which may have more values."""
        other = dataclasses.replace(self, axes=axes)
        other._traced = self._traced
        return other

    def kind(self, position: np.ndarray) -> tuple:
        """The values of the static axes at a point: those of a kind share one program."""
        return tuple(self.static(position).values())

    @property
    def names(self) -> list[str]:
        return [axis.name for axis in self.axes]

    def static(self, position: np.ndarray) -> dict[str, Any]:
        """The values of the static axes at a point."""
        pairs = zip(self.axes, position.tolist(), strict=True)
        return {axis.name: axis.value(place) for axis, place in pairs if axis.static}

    def inputs(self, positions: np.ndarray) -> Inputs:
        """Of points, as positions on the axes: (points, axes)."""
        values = [
            axis.values[positions[:, k]] for k, axis in enumerate(self.axes) if not axis.static
        ]
        words = [words[positions[:, k]] for k, words in enumerate(self._words)]
        return Inputs(tuple(values), np.stack(words, axis=1), self.base)

    def traced(self, position: np.ndarray) -> Traced:
        """`measure` at the static shape of this point; traced once."""
        static, kind = self.static(position), self.kind(position)
        if kind not in self._traced:
            inputs = self.inputs(position[None])
            self._traced[kind] = Traced.of(self.measure, self.names, static, self.impl, inputs)
        return self._traced[kind]

    def forget(self, position: np.ndarray) -> None:
        """The static shape of this point is not needed any more."""
        self._traced.pop(self.kind(position), None)


def check_variables(expected: Sequence[Variable], found: Sequence[Variable], static) -> None:
    """Raises unless all static shapes measure the same."""
    if tuple(expected) != tuple(found):
        raise ValueError(
            "Argument `measure` must return the same variables, shapes and types at all values of "
            f"the static axes, and as in its store, but at {static} it returns "
            f"{described(tuple(found))} instead of {described(tuple(expected))}. Pad what grows "
            "with an axis to the largest size."
        )


def padded(shards: list[np.ndarray], lanes: int) -> np.ndarray:
    """The slots of shards of `lanes` lanes each; its first slot fills a shorter one."""
    return np.concatenate([np.append(s, np.full(lanes - len(s), s[0])) for s in shards])


def unpadded(arrays: list[np.ndarray], shards: list[np.ndarray], lanes: int) -> list[np.ndarray]:
    """Of what `padded` shards returned, the part of the points."""
    keep = np.concatenate([k * lanes + np.arange(len(s)) for k, s in enumerate(shards)])
    return [array[keep] for array in arrays]


@dataclasses.dataclass
class Found:
    """A chunk that was run."""

    chunk: int
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


def with_status(variables: Sequence[Variable], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    named = dict(zip([v.name for v in variables], arrays, strict=True))
    return named | {"status": np.full(len(arrays[0]), STATUS["complete"], np.int8)}


def without_values(variables: Sequence[Variable], points: int, status: str):
    """Of points that could not be measured."""
    arrays = {v.name: np.full((points, *v.shape), v.missing, v.dtype) for v in variables}
    return arrays | {"status": np.full(points, STATUS[status], np.int8)}


def segment_chunks(keeper: Keeper, segment: Segment, wanted: set[int]) -> Iterator[int]:
    """Those of the chunks that are in this segment; each is claimed when it is taken, and left out
    where another process has it."""
    for chunk in segment.chunks(keeper.plan.chunk):
        if chunk in wanted and keeper.claim(chunk):
            yield chunk

"""What a sweep has found, in memory: nothing is kept when the process ends."""

from typing import Any

import numpy as np

from ._plan import Plan
from ._variables import STATUS, Variable

STATUS_VARIABLE = Variable("status", (), "int8")


def stored(plan: Plan) -> tuple[Variable, ...]:
    """The variables of the plan, and the status of the points."""
    return (*plan.variables, STATUS_VARIABLE)


def empty(variable: Variable, slots: int) -> np.ndarray:
    missing = STATUS["not_run"] if variable.name == "status" else variable.missing
    return np.full((slots, *variable.shape), missing, variable.dtype)


class Memory:
    """Arrays over the slots, of a plan that is never extended."""

    def __init__(self, plan: Plan, order: np.ndarray):
        self.plan, self.order = plan, order
        self._arrays = {v.name: empty(v, plan.slots) for v in stored(plan)}
        self._records: dict[int, dict[str, Any]] = {}

    def complete(self) -> set[int]:
        return set(self._records)

    def claim(self, chunk: int, wait: bool = False) -> bool:
        del wait
        return chunk not in self._records

    def release(self, chunk: int) -> None:
        del chunk

    def write(self, chunk: int, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        start = chunk * self.plan.chunk
        for name, values in arrays.items():
            self._arrays[name][start : start + len(values)] = values
        self._records[chunk] = record

    def halve(self, segment: int, lanes: int, chunk: int) -> None:
        """From this chunk on the segment is run with so many lanes."""
        self.plan.segments[segment].lanes = lanes
        self.plan.halved.append({"segment": segment, "chunk": chunk, "lanes": lanes})

    def read(self) -> tuple[dict[str, np.ndarray], list[int]]:
        """Arrays over all slots, and the chunks that could not be read."""
        return self._arrays, []

"""Runs chunks on the devices of this process: one shard on each of them at a time."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ._fitting import Fitting
from ._interrupt import Interrupt
from ._pace import Pace
from ._program import Program, in_a_line, is_out_of_memory
from ._progress import Progress
from ._running import (
    Experiment,
    Found,
    Keeper,
    check_variables,
    padded,
    unpadded,
    with_status,
    without_values,
)
from ._variables import failure_names, failures


class Local:
    """Runs a segment, in this process."""

    def __init__(
        self,
        devices: Sequence[Any],
        progress: Progress,
        interrupt: Interrupt,
        automatic: bool,
    ):
        self.devices, self.notes = tuple(devices), []
        self._progress, self._interrupt, self._automatic = progress, interrupt, automatic
        self._memory = Fitting(interrupt.wait)
        self._last: tuple[tuple, Program] | None = None  # and the static shape that it is for

    def run(
        self, experiment: Experiment, keeper: Keeper, number: int, chunks: Iterator[int]
    ) -> Iterator[Found]:
        """The chunks of segment `number`, as they are complete."""
        run, pace = _Run(experiment, keeper, number), Pace(keeper.plan, number)
        program = None
        try:
            while run.fill(chunks, len(self.devices)):
                self._interrupt.check()
                # (Only between chunks: nothing that was run is run again for this.)
                lanes = pace.lanes() if self._automatic and run.fresh else None
                if lanes is not None:
                    program = None
                    self._other(run, lanes, "For batches of half a minute")
                if program is None:
                    program = self._fitting(run)
                began = time.monotonic()
                batch = run.take(len(self.devices))
                try:
                    arrays = self._call(program, run, batch)
                except (RuntimeError, MemoryError) as error:
                    if is_out_of_memory(error):
                        program = None
                        self._halve(run, error)
                        continue
                    self.notes.append(in_a_line(str(error)))
                    points = sum(len(slots) for _, slots in batch)
                    arrays = without_values(keeper.plan.variables, points, "raised")
                seconds = time.monotonic() - began
                pace.timed(program.lanes, seconds)
                yield from run.put(batch, arrays, seconds, len(self.devices))
                failed = failures(keeper.plan.variables, arrays)
                names = failure_names(keeper.plan.variables, arrays)
                self._progress.add(len(failed), int(failed.sum()), names)
        finally:
            run.give_up()

    def _call(self, program: Program, run: "_Run", batch) -> dict[str, np.ndarray]:
        shards = [slots for _, slots in batch]
        positions = run.keeper.order[padded(shards, program.lanes)]
        inputs = run.experiment.inputs(positions)
        found = self._interrupt.wait(lambda: program(inputs))
        return with_status(run.keeper.plan.variables, unpadded(found, shards, program.lanes))

    def _fitting(self, run: "_Run") -> Program:
        """The program of a segment, for as many lanes as the memory holds."""
        position = run.keeper.order[run.segment.start]
        kind = (run.experiment.kind(position), run.segment.lanes)
        if self._last is not None and self._last[0] == kind:
            return self._last[1]
        self._progress.doing("compiling")
        traced = run.experiment.traced(position)
        check_variables(
            run.keeper.plan.variables, traced.variables, run.experiment.static(position)
        )
        inputs = run.experiment.inputs(position[None])
        while True:
            program = Program(traced, run.segment.lanes, self.devices)
            program.lower(inputs)
            try:
                self._interrupt.wait(program.compile)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(run, error)
                continue
            lanes, why = program.lanes, ""
            if self._automatic:
                lanes, why = self._memory.lanes(kind[0], program, traced, inputs)
            if lanes == program.lanes:
                self._progress.doing("running")
                self._last = (kind[0], program.lanes), program
                return program
            self._other(run, lanes, why)

    def _halve(self, run: "_Run", error: BaseException) -> None:
        self._other(run, run.segment.lanes // 2, "Out of memory", error)

    def _other(self, run: "_Run", lanes: int, why: str, error: BaseException | None = None):
        if lanes < 1:
            raise MemoryError(
                "The memory is too small for a single point of the sweep"
                + (f": {error}" if error is not None else ".")
            ) from error
        self._progress.again(run.restart(lanes))
        self._progress.say(f"{why}: the sweep goes on with {lanes} lanes a device.")


class _Run:
    """The shards of one segment that are still to be run, and the chunks that they are of."""

    def __init__(self, experiment: Experiment, keeper: Keeper, number: int):
        self.experiment, self.keeper, self.number = experiment, keeper, number
        self.segment = keeper.plan.segments[number]
        self._queue: deque[tuple[int, np.ndarray]] = deque()  # chunks and slots
        self._begun: dict[int, Found] = {}
        self._left: dict[int, int] = {}

    def fill(self, chunks: Iterator[int], shards: int) -> bool:
        """Takes chunks until there are enough shards for a batch; False where none is left."""
        while len(self._queue) < shards:
            chunk = next(chunks, None)
            if chunk is None:
                break
            self._begin(chunk)
        return bool(self._queue)

    @property
    def fresh(self) -> bool:
        """Whether nothing is done yet of the chunks that were begun."""
        return all(self._points(chunk) == left for chunk, left in self._left.items())

    def take(self, shards: int) -> list[tuple[int, np.ndarray]]:
        return [self._queue.popleft() for _ in range(min(shards, len(self._queue)))]

    def put(self, batch, arrays, seconds: float, devices: int) -> Iterator[Found]:
        """What a batch has found; returns the chunks that are complete with it."""
        length, begin = self.keeper.plan.chunk, 0
        for chunk, slots in batch:
            found = self._begun[chunk]
            for name, values in arrays.items():
                places = slots - chunk * length
                found.arrays[name][places] = values[begin : begin + len(slots)]
            begin += len(slots)
            found.record["seconds"] += seconds * len(slots) / sum(len(s) for _, s in batch)
            found.record["devices"] = devices
            self._left[chunk] -= len(slots)
            if self._left[chunk] == 0:
                del self._begun[chunk], self._left[chunk]
                yield found

    def restart(self, lanes: int) -> int:
        """Runs what was begun again, with so many lanes; returns how many points were done."""
        begun = sorted(self._begun)
        done = sum(self._points(chunk) - self._left[chunk] for chunk in begun)
        # (A batch that was taken is still counted as left.)
        self.keeper.halve(self.number, lanes, begun[0])
        self.segment = self.keeper.plan.segments[self.number]
        self._queue.clear()
        for chunk in begun:
            self._begin(chunk)
        return done

    def give_up(self) -> None:
        for chunk in self._begun:
            self.keeper.release(chunk)

    def _points(self, chunk: int) -> int:
        return len(self.segment.slots(chunk, self.keeper.plan.chunk))

    def _begin(self, chunk: int) -> None:
        variables, points = self.keeper.plan.variables, self._points(chunk)
        arrays = without_values(variables, points, "not_run")
        record = {"lanes": self.segment.lanes, "seconds": 0.0, "code": self.experiment.code}
        self._begun[chunk], self._left[chunk] = Found(chunk, arrays, record), points
        for slots in self.segment.shards(chunk, self.keeper.plan.chunk):
            self._queue.append((chunk, slots))

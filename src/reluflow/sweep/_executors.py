"""Runs chunks as tasks of an executor of `concurrent.futures`.

What workers there are, on which machines, and what happens to a task whose worker is lost, is the
executor's affair: dask starts such a task again, and gives it up after some losses; a process pool
breaks. Only this process writes the store.
"""

import hashlib
import pickle
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, wait
from concurrent.futures import Future as Future
from typing import Any

from ._interrupt import Interrupt
from ._program import in_a_line
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
from ._worker import Answer, Task, WorkerRefused, run_task, settings_here

_TICK = 0.2  # seconds between two looks at the keyboard
_WINDOW = 64  # tasks that are submitted at once, where the executor does not say its size


class Remote:
    """Runs a segment on the workers of an executor."""

    def __init__(
        self, executor: Executor, progress: Progress, interrupt: Interrupt, automatic: bool
    ):
        self.notes: list[str] = []
        self._automatic = automatic
        self._executor, self._progress, self._interrupt = executor, progress, interrupt
        workers = getattr(executor, "_max_workers", None)
        self._window = 2 * workers if isinstance(workers, int) else _WINDOW

    def run(
        self, experiment: Experiment, keeper: Keeper, number: int, chunks: Iterator[int]
    ) -> Iterator[Found]:
        """The chunks of segment `number`, as they are complete."""
        tasks, running, lost = _Tasks(experiment, keeper, number, self._automatic), {}, []
        chunks, alone = iter(chunks), None
        self._progress.doing("running")
        try:
            while True:
                while len(running) < self._window and not self._interrupt.asked:
                    chunk = next(chunks, None)
                    if chunk is None:
                        break
                    running[self._submit(tasks.of(chunk))] = chunk
                if self._interrupt.asked:
                    # (Those that run already go on, and what they find is kept.)
                    for future in [future for future in running if future.cancel()]:
                        keeper.release(running.pop(future))
                if not running:
                    self._interrupt.check()
                    if not lost:
                        return
                    # Dask blames all tasks that a lost worker had, also those that only waited
                    # there. Whichever ends its worker with nothing beside it, does so itself.
                    alone = lost.pop()
                    running[self._submit(tasks.of(alone, attempt=2))] = alone
                done, _ = wait(running, _TICK, FIRST_COMPLETED)
                for future in done:
                    answer = self._answer(future)
                    if answer is None and running[future] != alone:
                        lost.append(running.pop(future))
                        continue
                    if answer is not None and answer.kind == "memory":
                        chunk = running.pop(future)
                        self._smaller(tasks, chunk, answer)
                        running[self._submit(tasks.of(chunk))] = chunk
                        continue
                    if answer is None:
                        self.notes.append("a worker ended each time that it ran some points")
                    found = tasks.found(running[future], answer)
                    yield found
                    del running[future]
                    failed = failures(keeper.plan.variables, found.arrays)
                    names = failure_names(keeper.plan.variables, found.arrays)
                    self._progress.add(len(failed), int(failed.sum()), names)
        finally:
            for future in running:
                future.cancel()
            for chunk in (*running.values(), *lost):
                keeper.release(chunk)

    def _submit(self, task: Task) -> "Future[Answer]":
        try:
            return self._executor.submit(run_task, task)
        except (RuntimeError, pickle.PicklingError) as error:
            raise _broken(error) from error

    def _answer(self, future: "Future[Answer]") -> Answer | None:
        """None where the worker was lost, each time that the task was tried."""
        try:
            answer = future.result()
        except WorkerRefused:
            raise
        except (BrokenExecutor, CancelledError) as error:
            raise _broken(error) from error
        except Exception as error:
            # (Of dask, which need not be installed.)
            if type(error).__name__ != "KilledWorker":
                raise
            return None
        if answer.kind == "raised":
            self.notes.append(in_a_line(answer.message))
        return answer

    def _smaller(self, tasks: "_Tasks", chunk: int, answer: Answer) -> None:
        if tasks.lanes[chunk] > tasks.segment.lanes:
            return  # submitted before another chunk was found to be too large
        lanes = tasks.segment.lanes // 2 if answer.lanes is None else answer.lanes
        if lanes < 1:
            raise MemoryError(
                f"The memory of a worker is too small for a single point: {answer.message}"
            )
        tasks.keeper.halve(tasks.number, lanes, chunk)
        tasks.segment = tasks.keeper.plan.segments[tasks.number]
        why = "Out of memory" if answer.lanes is None else answer.message
        self._progress.say(f"{why}: the sweep goes on with {lanes} lanes a device.")


class _Tasks:
    """From chunks of one segment to tasks, and from their answers back."""

    def __init__(self, experiment: Experiment, keeper: Keeper, number: int, automatic: bool):
        self.experiment, self.keeper, self.number = experiment, keeper, number
        self._automatic = automatic
        self.segment = keeper.plan.segments[number]
        self._static = experiment.static(keeper.order[self.segment.start])
        self._function = pickled(experiment.measure)
        self._identity = hashlib.sha256(self._function + repr(experiment.names).encode())
        self._settings = settings_here()
        self.lanes: dict[int, int] = {}

    def of(self, chunk: int, attempt: int = 1) -> Task:
        lanes = self.lanes[chunk] = self.segment.lanes
        slots = padded(self.segment.shards(chunk, self.keeper.plan.chunk), lanes)
        return Task(
            self._function,
            self._identity.hexdigest(),
            tuple(self.experiment.names),
            self._static,
            self.experiment.impl,
            self.experiment.inputs(self.keeper.order[slots]),
            lanes,
            self._settings,
            self._automatic,
            attempt,
        )

    def found(self, chunk: int, answer: Answer | None) -> Found:
        variables, lanes = self.keeper.plan.variables, self.lanes.pop(chunk)
        slots = self.segment.slots(chunk, self.keeper.plan.chunk)
        record = {"lanes": lanes, "seconds": 0.0, "code": self.experiment.code}
        if answer is None:
            return Found(chunk, without_values(variables, len(slots), "worker_lost"), record)
        record |= {"seconds": answer.seconds, "devices": answer.devices}
        if answer.kind == "raised":
            return Found(chunk, without_values(variables, len(slots), "raised"), record)
        check_variables(variables, answer.variables, self._static)
        shards = [slots[k : k + lanes] for k in range(0, len(slots), lanes)]
        return Found(chunk, with_status(variables, unpadded(answer.arrays, shards, lanes)), record)


def pickled(measure: Any) -> bytes:
    """`measure` as bytes, by value with cloudpickle where that is installed.

    Raises:
        TypeError: it cannot be sent to another process.
    """
    try:
        import cloudpickle as pickler
    except ImportError:
        pickler = pickle
    try:
        return pickler.dumps(measure)
    except Exception as error:  # pickle raises whatever an object's own method does
        raise TypeError(
            "Argument `measure` must be picklable, because an executor sends it to other "
            f"processes, but {type(error).__name__}: {error}. Refer to no open files, locks or "
            "generators"
            + (", and install cloudpickle, or define it in a module." if pickler is pickle else ".")
        ) from error


def _broken(error: BaseException) -> RuntimeError:
    return RuntimeError(
        f"The executor broke ({type(error).__name__}: {error}): a worker ended, or it was shut "
        "down. What is complete is kept in the store; the same call with a new executor goes on."
    )

"""What a worker of an executor does: one chunk, carried to it as bytes and NumPy arrays.

Nothing of JAX is touched before the settings of the sweep are made those of this process.
"""

import dataclasses
import importlib.metadata
import os
import pickle
import threading
import time
from collections import OrderedDict
from typing import Any

import jax
import numpy as np

from ._fitting import Fitting
from ._program import Inputs, Program, Traced, is_out_of_memory
from ._variables import Variable

_SETTINGS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
)
_VERSIONS = ("reluflow", "jax", "jaxlib")
_MOST_PROGRAMS = 2  # that a worker keeps

_imported_by = os.getpid()
_programs: "OrderedDict[tuple, tuple[tuple[Variable, ...], Program]]" = OrderedDict()
_memory = Fitting()
_guard = threading.Lock()


class WorkerRefused(RuntimeError):
    """A worker cannot run what it was sent, in the way in which it would be run here."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One chunk: the function, its points in shards of `lanes`, and how JAX is set.

    automatic: the lanes are to fit the memory, of which the worker takes all for its own.
    attempt: dask takes two tasks that are equal for one, whose answer it has.
    """

    function: bytes
    identity: str  # of the function, and what else the program depends on
    names: tuple[str, ...]
    static: dict[str, Any]
    impl: str
    inputs: Inputs
    lanes: int
    settings: dict[str, Any]
    automatic: bool = False
    attempt: int = 1


@dataclasses.dataclass(frozen=True)
class Answer:
    """The arrays of the lanes; or 'memory' or 'raised', with the message.

    lanes: how many the memory holds, where that is known.
    """

    kind: str
    arrays: list[np.ndarray]
    variables: tuple[Variable, ...]
    message: str
    seconds: float
    devices: int
    lanes: int | None = None


class _Small(MemoryError):
    """The memory holds fewer lanes than the task has."""

    def __init__(self, lanes: int, why: str):
        super().__init__(why)
        self.lanes = lanes


def settings_here() -> dict[str, Any]:
    """How JAX is set in this process, and what is installed."""
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
    return {name: getattr(jax.config, name) for name in _SETTINGS} | {"versions": versions}


def run_task(task: Task) -> Answer:
    """Runs on a worker.

    Raises:
        WorkerRefused: it was forked from a process that had imported JAX, it has other versions, or
            it cannot load the function.
    """
    if os.getpid() != _imported_by:
        raise WorkerRefused(
            "The workers of the executor were forked from a process that uses JAX, whose threads a "
            "fork does not copy: JAX hangs there. Start them anew, as in "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )
    _set(task.settings)
    began = time.monotonic()
    with _guard:  # of a pool of threads, one compiles and runs at a time
        try:
            variables, program = _program(task)
            size = program.size
            parts = [
                program(task.inputs[begin : begin + size])
                for begin in range(0, len(task.inputs), size)
            ]
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, WorkerRefused):
                raise
            kind = "memory" if is_out_of_memory(error) else "raised"
            lanes = error.lanes if isinstance(error, _Small) else None
            return Answer(kind, [], (), str(error), time.monotonic() - began, 0, lanes)
    arrays = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    seconds = time.monotonic() - began
    return Answer("found", arrays, variables, "", seconds, len(program.devices))


def _set(settings: dict[str, Any]) -> None:
    """As in the process that asks; before anything is traced."""
    here = settings_here()
    if here["versions"] != settings["versions"]:
        raise WorkerRefused(
            f"A worker has other versions, {here['versions']}, than the process that asks, "
            f"{settings['versions']}: its numbers could differ."
        )
    for name in _SETTINGS:
        if here[name] != settings[name]:
            jax.config.update(name, settings[name])


def _program(task: Task) -> tuple[tuple[Variable, ...], Program]:
    """Compiled once for the tasks that differ in their points alone."""
    kind = (task.identity, tuple(task.static.items()), task.lanes, tuple(task.settings.items())[:5])
    if kind in _programs:
        _programs.move_to_end(kind)
        return _programs[kind]
    try:
        measure = pickle.loads(task.function)
    except Exception as error:  # whatever the modules raise that it refers to
        raise WorkerRefused(
            f"A worker could not load `measure`: {type(error).__name__}: {error}. What it refers "
            "to must be importable there, or defined in the program itself."
        ) from error
    traced = Traced.of(measure, task.names, task.static, task.impl, task.inputs)
    program = Program(traced, task.lanes, jax.local_devices())
    program.lower(task.inputs[:1])
    program.compile()
    if task.automatic:
        lanes, why = _memory.lanes(kind[:2], program, traced, task.inputs[:1])
        if lanes < program.lanes:
            raise _Small(lanes, why)
    _programs[kind] = traced.variables, program
    while len(_programs) > _MOST_PROGRAMS:
        _programs.popitem(last=False)
    return _programs[kind]

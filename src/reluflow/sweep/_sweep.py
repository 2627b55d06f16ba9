"""START HERE: `rf.sweep`, its arguments, and the loop over what is to be run."""

import contextlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from .._checks import check_bool, check_positive_int, check_type, require_x64, shortened
from ._axes import Axis, read_axes
from ._code import code_of
from ._interrupt import Interrupt
from ._local import Local
from ._opening import Request, as_kept, opened_memory, opened_store, wanted_chunks
from ._point import Point, base_key
from ._progress import Progress
from ._running import Experiment, Keeper, segment_chunks

if TYPE_CHECKING:
    from xarray import Dataset
else:
    Dataset = Any  # xarray is imported when a sweep is made, and not before

_LANES = {"cpu": 64}  # of a batch, on a device; more do not run faster there
_LANES_ELSEWHERE = 16384
_WAIT = 0.5  # seconds between two looks at chunks that another process runs


def sweep(
    measure: Callable[[Point], Mapping[str, Any]],
    axes: Mapping[str, Iterable],
    *,
    static: Iterable[str] = (),
    seed: int = 0,
    store: str | Path | None = None,
    batch: int | Literal["auto"] = "auto",
    devices: int | Sequence[Any] | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    rerun: Literal["failed"] | None = None,
    stop_after_failures: int | None = None,
    cost: Callable[[Any], Any] | None = None,
    part: tuple[int, int] | None = None,
    chunk: int | None = None,
    settings: Mapping[str, Any] | None = None,
    describe: Mapping[str, Mapping[str, Any]] | None = None,
) -> Dataset:
    """`measure` at all points of the grid that the axes span, as an `xarray.Dataset`.

    Arguments:
        measure: a pure function of JAX, from one `Point` to a dict of arrays and of codes such as
            `sol.result`. Point values are `point.<axis>`, random keys `point.key(*axes)`. It is
            traced once a static shape, under `jax.vmap`: use `throw=False` in `rf.flow`, or the
            error of one lane is that of all lanes of its batch.
        axes: a dict from names to values: numbers, which one program takes as inputs, or texts.
        static: axes that set a shape, or choose between programs: there is one compilation for
            each of their values. Axes of texts always are. What is measured has one shape at all.
        seed: of all keys.
        store: a directory, in which everything is kept as soon as it is known. The same call goes
            on after an interruption, and then gives the same numbers, bit for bit. Values that were
            added to an axis extend it.
        batch: lanes that run together, on all devices; on each device of a worker, where there is
            an executor. 'auto' takes 64 on each device of a CPU, up to 16384 on others, and fewer
            where the memory is too small or, in this process, after a batch of over a minute. What
            it chose stands in the store; another choice moves last bits. Ctrl-C waits for a batch,
            and where there is an executor for the chunks that run.
        devices: all local ones by default; or the first so many, or these. The workers of an
            executor take all of their own.
        executor: of `concurrent.futures`; each of its tasks is one chunk of the store.
        progress: show how far it is, where there is a terminal or a notebook, and rich.
        rerun: 'failed' runs those points of the grid again that failed, beside what was not run
            yet; `measure` may have changed.
        stop_after_failures: end with `StoppedAfterFailures` when so many points have failed.
        cost: predicts what a point costs, so that points of like cost share a batch: a function of
            an object whose attributes are the axes, each an array over many points, that returns
            an array. By default the axis with the most values varies fastest.
        part: (3, 8) runs the third of eight parts, which may be started together on one store. What
            it returns has the status `not_run` at points that no part has run yet.
        chunk: points that are written together, fixed when the store is made: what is lost at most
            when the process is killed.
        settings: further numbers and texts that `measure` depends on; a store of others is refused.
        describe: attributes by variable or axis, as in {"loss": {"units": "1"}}; with
            `dims` the names of a variable's own dimensions.

    Returns:
        A dataset with the axes as dimensions and coordinates, a variable for each array, and
        `status`: `complete`, `raised` (an error of the compiled program), `worker_lost`, or
        `not_run`. Where a point has no value, it is NaN, or -1 among integers.

    Raises:
        ImportError: xarray or zarr is missing.
        ValueError, TypeError: bad arguments; a store of other settings.
        StoppedAfterFailures, KeyboardInterrupt: what is complete is kept in the store.
        OSError: the store cannot be written.
    """
    _require("xarray", *(["zarr"] if store is not None else []))
    require_x64()
    read = read_axes(axes, static)
    check_bool("progress", progress)
    chosen = _devices(devices) if executor is None else _devices(devices)[:1]
    _check(measure, seed, batch, executor, rerun, stop_after_failures, part, chunk, store)
    request = _request(measure, read, seed, batch, chosen, chunk, part, cost, rerun, settings)
    kept = (
        f"The same call goes on where it stopped, with what {store} holds."
        if store is not None
        else "Nothing was kept: pass `store` to go on next time."
    )
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(Progress(progress, stop_after_failures, kept))
        interrupt = stack.enter_context(Interrupt(shown.say, kept))
        if store is None:
            keeper = opened_memory(request)
        else:
            keeper = stack.enter_context(opened_store(Path(store), request))
        _check_described(keeper, read, describe or {})
        runner: Any = Local(chosen, shown, interrupt, batch == "auto")
        if executor is not None:
            from ._executors import Remote

            runner = Remote(executor, shown, interrupt, batch == "auto")
        found = _run(keeper, request, runner, part, shown, interrupt)
    return _dataset(keeper, found, read, describe or {})


def load(store: str | Path, describe: Mapping[str, Mapping[str, Any]] | None = None) -> Dataset:
    """What a store holds, on the grid of all its axes; `status` says what was not run yet."""
    _require("xarray", "zarr")
    from ._store import Store

    if not (Path(store) / "sweep" / "plan.json").is_file():
        raise ValueError(f"Argument `store` must be the store of a sweep, but {store} is none.")
    with Store(Path(store), read_only=True) as opened:
        opened.load()
        arrays, _ = opened.read()
        return _dataset(opened, arrays, opened.plan.axes, describe or {})


def _run(keeper: Keeper, request: Request, runner, part, shown: Progress, interrupt: Interrupt):
    """Runs what is missing; returns the arrays over all slots."""
    wanted = wanted_chunks(keeper, request.experiment.axes)
    if part is not None:
        wanted = {chunk for chunk in wanted if chunk % part[1] == part[0] - 1}
    while True:
        _complete(keeper, request, runner, wanted, shown, interrupt)
        arrays, corrupt = keeper.read()
        if not wanted.intersection(corrupt):
            break
        warnings.warn(
            f"Chunks {corrupt} of the store do not hold what was written: they are run again.",
            stacklevel=3,
        )
    for note in dict.fromkeys(runner.notes):
        warnings.warn(
            f"A batch of the sweep ended with an error, its points have the status `raised` or "
            f"`worker_lost`: {note}",
            stacklevel=3,
        )
    return arrays


def _complete(keeper: Keeper, request: Request, runner, wanted, shown, interrupt) -> None:
    """Until all that is wanted is complete, be it by this process or by another one."""
    plan, length = keeper.plan, keeper.plan.chunk
    experiment = request.experiment.on(plan.axes)
    while left := wanted - keeper.complete():
        ran = 0
        shown.total(
            shown.done
            + sum(
                len(segment.slots(chunk, length))
                for segment in plan.segments
                for chunk in left.intersection(segment.chunks(length))
            )
        )
        for numbers in _by_kind(experiment, keeper, left):
            for number in numbers:
                chunks = segment_chunks(keeper, plan.segments[number], left)
                for found in runner.run(experiment, keeper, number, chunks):
                    keeper.write(found.chunk, found.arrays, found.record)
                    ran += 1
            experiment.forget(keeper.order[plan.segments[numbers[0]].start])
        if not ran:
            interrupt.check()
            time.sleep(_WAIT)


def _by_kind(experiment: Experiment, keeper: Keeper, chunks: set[int]) -> list[list[int]]:
    """The segments that have one of the chunks, those of one static shape together."""
    kinds: dict[tuple, list[int]] = {}
    for number, segment in enumerate(keeper.plan.segments):
        if chunks.intersection(segment.chunks(keeper.plan.chunk)):
            kind = experiment.kind(keeper.order[segment.start])
            kinds.setdefault(kind, []).append(number)
    return list(kinds.values())


def _dataset(keeper: Any, arrays, axes: tuple[Axis, ...], describe) -> Dataset:
    from ._dataset import dataset

    return dataset(keeper.plan, keeper.order, arrays, axes, describe)


def _check_described(keeper: Keeper, axes: tuple[Axis, ...], describe) -> None:
    from ._dataset import check_described

    check_described(keeper.plan, axes, describe)


def _request(measure, axes, seed, batch, devices, chunk, part, cost, rerun, settings) -> Request:
    # (A store holds integers of Python, whichever were given.)
    base, impl = base_key(int(seed))
    batch = batch if batch == "auto" else int(batch)
    own = {
        "seed": int(seed),
        "generator": impl,
        "threefry_partitionable": bool(jax.config.jax_threefry_partitionable),  # type: ignore
        "default_matmul_precision": jax.config.jax_default_matmul_precision,  # type: ignore
    }
    lanes = _LANES.get(devices[0].platform, _LANES_ELSEWHERE)
    return Request(
        Experiment(measure, axes, base, impl, code_of(measure)),
        own | {"settings": as_kept(settings or {})},
        devices,
        None if batch == "auto" else batch,
        lanes if batch == "auto" else -(-batch // len(devices)),
        None if chunk is None else int(chunk),
        1 if part is None else part[1],
        cost,
        rerun is not None,
    )


def _require(*packages: str) -> None:
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise ImportError(
                f"rf.sweep needs {name}, which is not installed: pip install 'reluflow[sweep]'"
            )


def _devices(devices: Any) -> list[Any]:
    local = jax.local_devices()
    if devices is None:
        return local
    if isinstance(devices, int | np.integer):
        check_positive_int("devices", devices)
        if devices > len(local):
            raise ValueError(
                f"Argument `devices` must be at most {len(local)}, the number of local devices, "
                f"but it is {devices}. (XLA_FLAGS=--xla_force_host_platform_device_count=8 makes "
                "eight of a CPU.)"
            )
        return local[:devices]
    chosen = list(devices)
    known = all(device in local for device in chosen)
    if not chosen or not known or len(set(chosen)) < len(chosen):
        raise ValueError(
            "Argument `devices` must be local devices of JAX, one at least, each once, but it is "
            f"{shortened(devices)}."
        )
    return chosen


def _check(measure, seed, batch, executor, rerun, stop, part, chunk, store) -> None:
    if not callable(measure):
        raise TypeError(f"Argument `measure` must be a function, but it is {shortened(measure)}.")
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise ValueError(f"Argument `seed` must be an integer from 0 on, but it is {seed!r}.")
    if batch != "auto":
        check_positive_int("batch", batch)
    if executor is not None:
        check_type("executor", executor, Executor, "ProcessPoolExecutor()")
    if rerun not in (None, "failed"):
        raise ValueError(f"Argument `rerun` must be None or 'failed', but it is {rerun!r}.")
    for name, value in (("stop_after_failures", stop), ("chunk", chunk)):
        if value is not None:
            check_positive_int(name, value)
    for name, value in (("part", part), ("rerun", rerun)):
        if value is not None and store is None:
            raise ValueError(f"Argument `{name}` must be given with a `store`, but there is none.")
    if part is not None:
        numbers = part if isinstance(part, tuple) and len(part) == 2 else (0, 0)
        if not all(isinstance(n, int) for n in numbers) or not 1 <= numbers[0] <= numbers[1]:
            raise ValueError(
                "Argument `part` must be two integers such as (3, 8), the third of eight parts, "
                f"but it is {part!r}."
            )

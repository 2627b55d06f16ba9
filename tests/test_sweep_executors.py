"""Sweeps on the workers of executors: processes of a pool, and of dask."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import jax
import numpy as np
import pytest
import sweep_measures
from sweep_measures import AXES, looped, quick, raises

import reluflow as rf
from reluflow.sweep._executors import pickled
from reluflow.sweep._worker import WorkerRefused, run_task


def swept(measure, axes=AXES, **options):
    return rf.sweep(measure, axes, **({"progress": False, "batch": 8, "chunk": 16} | options))


def pool(method="spawn", workers=1):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


class Recorded(ThreadPoolExecutor):
    """Runs tasks in this process, and keeps them."""

    def __init__(self):
        super().__init__(1)
        self.tasks = []

    def submit(self, function, /, task):
        self.tasks.append(task)
        return super().submit(function, task)


def test_an_executor_gives_what_this_process_gives(tmp_path):
    """Through tasks that are a chunk each; the control is a sweep of another seed."""
    expected = swept(quick)
    with Recorded() as executor:
        ds = swept(quick, executor=executor, store=tmp_path / "s")
        assert len(executor.tasks) == 8 and ds.equals(expected)
        assert not swept(quick, executor=executor, seed=1).equals(expected)


def test_out_of_memory_in_a_worker_halves_the_batch(monkeypatch):
    from test_sweep_devices import Failing

    expected = swept(looped)
    failing = Failing(monkeypatch, calls=(3,))
    with Recorded() as executor:
        ds = swept(looped, executor=executor)
    assert set(failing.lanes) == {8, 4} and not ds.status.values.any()
    assert float(abs(ds.value - expected.value).max()) < 1e-12


def test_an_error_in_a_worker_is_the_status_of_its_points():
    with Recorded() as executor, pytest.warns(UserWarning, match="ended with an error"):
        ds = swept(raises, {"seed": range(32)}, executor=executor)
    assert (ds.status == 1).values.tolist() == [True] * 16 + [False] * 16


def test_a_function_that_cannot_be_sent_is_refused_before_anything_is_run():
    lock = threading.Lock()
    with Recorded() as executor:
        with pytest.raises(TypeError, match="Argument `measure` must be picklable"):
            swept(lambda point: {"a": point.seed if lock else 0}, executor=executor)
        assert not executor.tasks


def test_a_worker_with_other_versions_refuses(monkeypatch):
    with Recorded() as executor:
        swept(quick, {"seed": [1], "height": [1.0]}, executor=executor)
    (task,) = executor.tasks
    assert run_task(task).kind == "found"
    monkeypatch.setitem(task.settings["versions"], "jax", "0.0.1")
    with pytest.raises(WorkerRefused, match="A worker has other versions"):
        run_task(task)


def test_a_worker_makes_the_settings_its_own():
    """Those of JAX, before it traces: here the generator of keys."""
    with Recorded() as executor:
        swept(quick, {"seed": [1], "height": [1.0]}, executor=executor)
        (task,) = executor.tasks
        task.settings["jax_threefry_partitionable"] = False
        before = jax.config.jax_threefry_partitionable
        try:
            assert run_task(task).kind == "found"
            assert not jax.config.jax_threefry_partitionable
        finally:
            jax.config.update("jax_threefry_partitionable", before)


def test_a_forked_worker_is_refused_within_seconds():
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python and JAX, about the fork
        with pool("fork") as executor, pytest.raises(WorkerRefused, match="were forked"):
            swept(quick, executor=executor)
    assert time.monotonic() - began < 20.0


def killing_when_begun(store, processes):
    """Kills the first of the processes when a chunk is complete; returns what was killed."""
    killed = []

    def wait_and_kill():
        while not any(store.glob("sweep/complete/*.json")):
            time.sleep(0.01)
        killed.append(processes()[0])
        os.kill(killed[0], signal.SIGKILL)

    threading.Thread(target=wait_and_kill, daemon=True).start()
    return killed


@pytest.mark.slow  # a process that imports JAX
def test_a_pool_of_spawned_processes_and_one_that_breaks(tmp_path):
    """The worker is killed in the middle; a new pool goes on with what is complete."""
    expected = swept(looped)

    def slowly(point):
        def wait(seed):
            time.sleep(0.02)
            return np.asarray(0.0)

        kind = jax.ShapeDtypeStruct((), float)
        zero = jax.pure_callback(wait, kind, point.seed, vmap_method="sequential")
        found = looped(point)
        return found | {"value": found["value"] + zero}

    with pool() as executor:
        killing_when_begun(tmp_path / "s", lambda: list(executor._processes))
        with pytest.raises(RuntimeError, match=r"The executor broke.*with a new executor goes on"):
            swept(slowly, executor=executor, store=tmp_path / "s")
    assert 0 < len(list((tmp_path / "s/sweep/complete").glob("*.json"))) < 8
    with pool() as executor, warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = swept(slowly, executor=executor, store=tmp_path / "s")
    assert ds.equals(expected)


@contextlib.contextmanager
def cluster(workers):
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.slow  # processes that are started again
@pytest.mark.filterwarnings("ignore")  # dask's own, while workers die
def test_dask_goes_on_when_a_worker_is_killed_and_gives_up_what_kills_each(tmp_path):
    """One point ends its process each time: its chunk has the status, all others are complete."""
    axes = {"seed": range(64)}
    with cluster(2) as client:
        pids = list(client.run(os.getpid).values())
        killed = killing_when_begun(tmp_path / "s", lambda: pids)
        ds = swept(
            sweep_measures.ends_its_process,
            axes,
            executor=client.get_executor(),
            store=tmp_path / "s",
        )
        assert killed == pids[:1] and pids[0] not in client.run(os.getpid).values()
    assert (ds.status == 2).values.tolist() == [k < 16 for k in range(64)]
    assert (ds.value[16:] == ds.seed[16:]).all() and np.isnan(ds.value[:16]).all()
    again = rf.sweep(
        lambda point: {"value": point.seed.astype(float)},
        axes,
        store=tmp_path / "s",
        rerun="failed",
        progress=False,
    )
    assert (again.value == again.seed).all() and not again.status.values.any()


def test_pickling_is_by_value_where_it_can_be():
    import pickle

    closed = 3.0
    assert pickle.loads(pickled(lambda x: x + closed))(1.0) == 4.0

"""What a local store of icechunk loses when processes write disjoint chunks of it.

    pip install icechunk && python benchmarks/sweep_store.py

Each process writes its share of 200 chunks, a transaction each, and begins again where a
transaction is refused. At the end the chunks are counted that were committed and are not there.
The store of `rf.sweep` does the same in `tests/test_sweep_store.py`
(`test_two_processes_share_the_work_of_one_store`, `test_parts_that_start_together_...`).
Prints a table; results/sweep-store.md is what it found, and what was decided.
"""

import multiprocessing
import tempfile
import time

import icechunk
import numpy as np
import zarr
from _common import table

CHUNKS, LENGTH, TRIES = 200, 16, 500


def opened(path):
    return icechunk.Repository.open_or_create(icechunk.local_filesystem_storage(path))


def make(path):
    session = opened(path).writable_session("main")
    group = zarr.open_group(session.store, mode="a")
    shape, chunks = (CHUNKS * LENGTH,), (LENGTH,)
    group.create_array("v", shape=shape, chunks=chunks, dtype="f8", fill_value=np.nan)
    session.commit("make")


def write(path, first, processes, found):
    repository, refused = opened(path), 0
    for chunk in range(first, CHUNKS, processes):
        for _ in range(TRIES):
            session = repository.writable_session("main")
            array = zarr.open_group(session.store, mode="a")["v"]
            array[chunk * LENGTH : (chunk + 1) * LENGTH] = float(chunk)
            try:
                session.commit("chunk", rebase_with=icechunk.ConflictDetector(), rebase_tries=10)
                break
            except (icechunk.IcechunkError, icechunk.ConflictError):
                refused += 1
    found.put(refused)


def row(processes):
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as path:
        make(path)
        found, began = context.Queue(), time.perf_counter()
        shares = [(path, k, processes, found) for k in range(processes)]
        workers = [context.Process(target=write, args=share) for share in shares]
        for worker in workers:
            worker.start()
        refused = sum(found.get() for _ in workers)
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - began
        session = opened(path).readonly_session("main")
        values = zarr.open_group(session.store, mode="r")["v"][:]
    lost = int(np.isnan(values[::LENGTH]).sum())
    return [str(processes), str(refused), f"{lost} of {CHUNKS}", f"{seconds:.1f}"]


def main():
    header = ["processes", "transactions refused", "committed chunks lost", "seconds"]
    print(table(header, [row(processes) for processes in (1, 2, 8)], markdown=True))


if __name__ == "__main__":
    main()

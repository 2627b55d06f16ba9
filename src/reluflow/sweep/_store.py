"""What a sweep has found, on disk: `kill -9` at any moment loses the chunks in flight and no more.

    norms.zarr/
      zarr.json               a group, which `xarray.open_zarr(.., consolidated=False)` opens
      loss/, status/, ...     a variable each, over the slots
      sweep/                  a group in it:
        plan.json             axes, settings, segments; with it the store exists
        order/                the point in each slot, as positions on the axes
        complete/17.json      chunk 17 is complete, with a digest of its values
        lock                  see `_files.Locks`

That a chunk is complete is a record of its own, written after all its variables. The existence of a
chunk of Zarr says nothing: one of fill values is not written at all (zarr-python 2931), and a
process may have ended between two variables.

Rejected: appending along the flat axis (xarray 10766, 11101) and regions that share a chunk
(xarray 8371, 10501), which lose data silently; and transactions of icechunk, for which see
`benchmarks/results/sweep-store.md`.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors

from ._files import Locks, replace
from ._memory import empty, stored
from ._plan import Plan


class Store:
    """One store, opened by this process; as a context manager it is closed again."""

    def __init__(self, path: Path, read_only: bool = False):
        """Makes the directories and the lock, and nothing else; read only, not even these.

        Raises:
            ValueError: there is something else at this path.
            OSError: nothing can be written there.
        """
        self.path, self._own = path, path / "sweep"
        self.plan: Plan
        self.order: np.ndarray
        self._arrays: dict[str, Any] = {}
        self._read_only = read_only
        self.locks: Locks
        if not read_only:
            self._make()

    def _make(self) -> None:
        path = self.path
        with self._explained():
            if path.exists() and not path.is_dir():
                raise ValueError(f"Argument `store` must be a directory, but {path} is a file.")
            path.mkdir(parents=True, exist_ok=True)
            # (In this order: another process may be making the store.)
            if any(path.iterdir()) and not self._own.is_dir():
                raise ValueError(
                    f"Argument `store` must be new, empty or the store of a sweep, but {path} "
                    "holds something else."
                )
            self._own.mkdir(exist_ok=True)
            (self._own / "complete").mkdir(exist_ok=True)
            self.locks = Locks(self._own / "lock")

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error) -> None:
        if not self._read_only:
            self.locks.close()

    # The plan: under the lock of the metadata

    def clean_metadata(self) -> None:
        """Removes what a process left that ended while it wrote metadata, under their lock."""
        own = (self._own.glob("plan.json.*.partial"), self._own.glob("order/**/*.partial"))
        for found in (*own, self.path.glob("zarr.*.partial"), self.path.glob("*/zarr.*.partial")):
            for left in found:
                left.unlink(missing_ok=True)

    def load(self) -> bool:
        """Reads plan and order; False where there is no plan yet."""
        plan = self._own / "plan.json"
        if not plan.exists():
            return False
        try:
            numbers = json.loads(plan.read_text())
        except ValueError as error:
            raise ValueError(
                f"Argument `store` must be the store of a sweep, but {plan} cannot be read "
                f"({error}): the machine may have stopped while it was written. Remove the store."
            ) from error
        self.plan = Plan.from_json(numbers)
        root = zarr.open_group(self.path, mode="r" if self._read_only else "r+")
        self.order = np.asarray(root["sweep/order"][: self.plan.slots])  # type: ignore
        self._arrays = {v.name: root[v.name] for v in stored(self.plan)}
        return True

    def create(self, plan: Plan, order: np.ndarray) -> None:
        """Whatever is there was left by a process that ended before it wrote a plan."""
        with self._explained():
            for left in self.path.iterdir():
                if left != self._own:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            for left in self._own.iterdir():
                if left.name == "order":
                    shutil.rmtree(left)
            root = zarr.open_group(self.path, mode="a")
            own = root.require_group("sweep")
            for variable in stored(plan):
                root.create_array(
                    variable.name,
                    shape=(plan.slots, *variable.shape),
                    chunks=(plan.chunk, *(max(n, 1) for n in variable.shape)),
                    dtype=variable.dtype,
                    fill_value=empty(variable, 1).flat[0] if 0 not in variable.shape else None,
                    dimension_names=("point", *(f"{variable.name}_{k}" for k in _axes(variable))),
                )
            own.create_array(
                "order",
                shape=order.shape,
                chunks=(max(plan.chunk, 65536 // plan.chunk * plan.chunk), order.shape[1]),
                dtype="int32",
                fill_value=-1,
                dimension_names=("point", "axis"),
            )
            own["order"][:] = order  # type: ignore
            replace(self._own / "plan.json", plan.to_json())
        self.load()

    def extend(self, plan: Plan, order: np.ndarray) -> None:
        """To a plan that begins as the old one; its new segments have this order."""
        with self._explained():
            root = zarr.open_group(self.path, mode="r+")
            begin = plan.slots - len(order)
            for name in (*(v.name for v in stored(plan)), "sweep/order"):
                array: Any = root[name]
                # (It is longer where a process ended before it replaced the plan.)
                if array.shape[0] < plan.slots:
                    array.resize((plan.slots, *array.shape[1:]))
            root["sweep/order"][begin : plan.slots] = order  # type: ignore
            replace(self._own / "plan.json", plan.to_json())
        self.load()

    def halve(self, segment: int, lanes: int, chunk: int) -> None:
        """From this chunk on the segment is run with so many lanes."""
        with self.locks.metadata(), self._explained():
            numbers = json.loads((self._own / "plan.json").read_text())
            numbers["segments"][segment]["lanes"] = lanes
            numbers["halved"].append({"segment": segment, "chunk": chunk, "lanes": lanes})
            replace(self._own / "plan.json", numbers)
        self.plan.halved = numbers["halved"]
        self.plan.segments[segment].lanes = lanes

    # The chunks: each written by the process that has claimed it

    def complete(self) -> set[int]:
        """The chunks that are."""
        # (No other file counts, such as those of network file systems.)
        paths = (self._own / "complete").glob("*.json")
        return {int(path.stem) for path in paths if path.stem.isdecimal()}

    def claim(self, chunk: int, wait: bool = False) -> bool:
        """Whether this process is to run the chunk: it is neither complete nor another's."""
        record = self._own / "complete" / f"{chunk}.json"
        if record.exists() or not self.locks.take(1 + chunk, wait):
            return False
        if record.exists():  # completed since
            self.release(chunk)
            return False
        self._clean(chunk)
        return True

    def release(self, chunk: int) -> None:
        self.locks.release(1 + chunk)

    def write(self, chunk: int, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        """All variables of a chunk that was claimed, and then that it is complete."""
        start = chunk * self.plan.chunk
        with self._explained():
            for variable in stored(self.plan):
                whole = empty(variable, self.plan.chunk)
                values = arrays[variable.name]
                whole[: len(values)] = values
                if whole.size:
                    self._arrays[variable.name][start : start + self.plan.chunk] = whole
                arrays[variable.name] = whole
            record = record | {"digest": self._digest(arrays)}
            replace(self._own / "complete" / f"{chunk}.json", record)
        self.release(chunk)

    def records(self) -> dict[int, dict[str, Any]]:
        """Of the complete chunks: lanes, devices, seconds; empty where it cannot be read."""
        found = {}
        for chunk in sorted(self.complete()):
            try:
                found[chunk] = json.loads((self._own / "complete" / f"{chunk}.json").read_text())
            except (ValueError, FileNotFoundError):  # another process may remove a corrupt one
                found[chunk] = {}
        return found

    def read(self) -> tuple[dict[str, np.ndarray], list[int]]:
        """Arrays over all slots of the plan, and the chunks that could not be read.

        What is in no complete chunk is missing. A chunk that differs from its digest is no longer
        complete: its record is removed, so that it is run again.
        """
        arrays = {v.name: empty(v, self.plan.slots) for v in stored(self.plan)}
        corrupt = []
        for chunk, record in self.records().items():
            if chunk >= self.plan.chunks:
                continue  # of an extension by another process
            part = slice(chunk * self.plan.chunk, (chunk + 1) * self.plan.chunk)
            found = self._read(part)
            if found is None or self._digest(found) != record.get("digest"):
                corrupt.append(chunk)
                if not self._read_only:
                    with self._explained():
                        (self._own / "complete" / f"{chunk}.json").unlink(missing_ok=True)
                continue
            for name, values in found.items():
                arrays[name][part] = values
        return arrays, corrupt

    def _read(self, part: slice) -> dict[str, np.ndarray] | None:
        try:
            return {name: np.asarray(array[part]) for name, array in self._arrays.items()}
        except (ValueError, RuntimeError, OSError, zarr.errors.BaseZarrError):
            return None  # what a codec says of bytes that are not its own

    def _digest(self, arrays: dict[str, np.ndarray]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for variable in stored(self.plan):
            values = np.ascontiguousarray(arrays[variable.name], variable.dtype)
            digest.update(variable.name.encode() + b"\0" + values.tobytes())
        return digest.hexdigest()

    def _clean(self, chunk: int) -> None:
        """Removes what a process left that ended while it wrote this chunk."""
        for variable in stored(self.plan):
            folder = self.path / variable.name / "c"
            for left in (
                *folder.glob(f"{chunk}.*partial"),
                *(folder / str(chunk)).glob("**/*.partial"),
            ):
                left.unlink(missing_ok=True)
        for left in (self._own / "complete").glob(f"{chunk}.*.partial"):
            left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says of an error of the system what it means for the sweep."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                advice = "The disk is full. Free some space and make the same call again"
            elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
                advice = "Nothing may be written there. Choose another `store`"
            else:
                raise
            raise OSError(
                error.errno,
                f"The sweep could not write its store. {advice}: what is complete is kept.",
                str(self.path),
            ) from error


def _axes(variable) -> range:
    return range(len(variable.shape))

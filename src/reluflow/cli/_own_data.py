"""Data of one's own: a CSV file of a header and numbers, or an NPZ file with arrays x and y."""

import csv
import zipfile
from pathlib import Path

import numpy as np

import reluflow

from ._experiments import SUFFIXES

_LABEL = "y"
_FORM = (
    "a CSV file has a header with the column y, the labels, and one column for each coordinate of "
    "the inputs; an NPZ file has the arrays x (samples, dim) and y (samples,)"
)


def read(path: Path) -> "reluflow.Dataset":
    """The data of a file.

    Raises:
        ValueError: there is no such file, or what it holds is no data for a flow; says where.
    """
    return as_dataset(path, *arrays(path))


def arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a file, as numbers that are finite; without JAX, which takes a second to import.

    Raises:
        ValueError: as `read`, but for what only a `Dataset` refuses.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} is neither .csv nor .npz: {_FORM}.")
    try:
        x, y = _from_npz(path) if path.suffix.lower() == ".npz" else _from_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from None
    _check_numbers(path, x, y)
    return x, y


def as_dataset(path: Path, x: np.ndarray, y: np.ndarray) -> "reluflow.Dataset":
    """(Raises ValueError.)"""
    try:
        return reluflow.Dataset(x, y)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _from_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if any(row)]
    if not rows:
        raise ValueError(f"{path} is empty: {_FORM}.")
    header = [name.strip() for name in rows[0][1]]
    if header.count(_LABEL) != 1 or len(header) < 2:
        raise ValueError(f"{path} has the columns {', '.join(header)}, but {_FORM}.")
    if len(rows) == 1:
        raise ValueError(f"{path} has a header, but no samples.")
    values = np.empty((len(rows) - 1, len(header)))
    for place, (number, row) in enumerate(rows[1:]):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {number}, has {len(row)} entries, but the header has {len(header)}."
            )
        for column, text in enumerate(row):
            try:
                values[place, column] = float(text)
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}, column {header[column]}, holds {text.strip()!r}, "
                    "which is no number."
                ) from None
    label = header.index(_LABEL)
    return np.delete(values, label, axis=1), values[:, label]


def _from_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("x", "y") if name not in file]
            if missing:
                raise ValueError(f"{path} has the arrays {', '.join(file.files)}, but {_FORM}.")
            x, y = file["x"], file["y"]
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read: {error}.") from None
    if x.ndim != 2 or y.ndim != 1 or x.dtype.kind not in "iuf" or y.dtype.kind not in "iuf":
        raise ValueError(
            f"{path} holds x of shape {x.shape} ({x.dtype}) and y of shape {y.shape} ({y.dtype}), "
            f"but {_FORM}, of real numbers."
        )
    return x.astype(np.float64), y.astype(np.float64)


def _check_numbers(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    for rows in (x, y[:, None]):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise ValueError(f"{path}: {_place(bad[0])} holds NaN or an infinite number.")


def _place(sample: int | np.integer) -> str:
    """As people count: samples from 1 on, without the header."""
    return f"sample {sample + 1}"

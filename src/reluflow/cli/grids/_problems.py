"""Data sets by name, or of one's own, for one point of a grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import datasets
from ..._model._dataset import Dataset
from ._refusals import GridError


@dataclass(frozen=True)
class Problem:
    """One of the names.

    make: (key, parameters) -> data. parameters: with their defaults, None where one is to be given
    or follows from the others. random: whether it draws. orthogonal: whether its inputs always are.
    """

    described: str
    make: Callable[[jax.Array, Mapping[str, Any]], Dataset]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    random: bool = False
    orthogonal: bool = False


def _orthonormal(key: jax.Array, given: Mapping[str, Any]) -> Dataset:
    labels = given["labels"]
    kind = "normal" if isinstance(labels, tuple) else labels
    data = datasets.orthonormal(key, given["samples"], given["dim"], labels=kind)
    return Dataset(data.x, _repeated(labels, given["samples"])) if kind != labels else data


def _identity(key: jax.Array, given: Mapping[str, Any]) -> Dataset:
    """With inputs that are known when a program is made, which then knows that they are
    orthogonal."""
    samples, labels = given["samples"], given["labels"]
    if isinstance(labels, tuple):
        y = _repeated(labels, samples)
    else:
        y = jr.normal(key, (samples,), jnp.float64)
        y = jnp.abs(y) if labels == "positive" else y
    return Dataset(np.eye(samples), y)


def _gaussian_teacher(key: jax.Array, given: Mapping[str, Any]) -> Dataset:
    return datasets.gaussian_teacher(key, given["samples"], given["dim"], given["teacher_neurons"])


def _repeated(labels: tuple[float, ...], samples: int) -> np.ndarray:
    return np.resize(np.asarray(labels, np.float64), samples)


PROBLEMS: Mapping[str, Problem] = {
    "two-points": Problem(
        "two orthogonal points with a bias (2022, Fig. 2 and 3)",
        lambda key, given: datasets.two_points(),
        orthogonal=True,
    ),
    "five-points": Problem(
        "five points with a bias, along which the flow slides (2022, Fig. 4)",
        lambda key, given: datasets.five_points(),
    ),
    "xor": Problem(
        "x = (+-1, +-1) and y = x_1 x_2: opposite inputs share a boundary",
        lambda key, given: datasets.xor(),
    ),
    "orthonormal": Problem(
        "a random orthonormal family",
        _orthonormal,
        {"samples": None, "dim": None, "labels": "normal"},
        random=True,
        orthogonal=True,
    ),
    "identity": Problem(
        "the unit vectors, of which the labels alone are drawn (2026, Fig. 5 and 6)",
        _identity,
        {"samples": None, "labels": "normal"},
        random=True,
        orthogonal=True,
    ),
    "gaussian-teacher": Problem(
        "Gaussian inputs, labelled by a small random network (2022, Fig. 6 and 7)",
        _gaussian_teacher,
        {"samples": 75, "dim": 150, "teacher_neurons": 6},
        random=True,
    ),
}


def read_labels(value: Any) -> str | tuple[float, ...]:
    """normal, positive, or numbers that are repeated along the samples."""
    if value in ("normal", "positive"):
        return value
    good = isinstance(value, list) and value and not any(isinstance(v, bool) for v in value)
    if not good or not all(isinstance(each, int | float) for each in value):
        raise GridError(
            "problem.labels must be 'normal', 'positive', or a list of numbers, which is repeated "
            f"along the samples, but it is {value!r}."
        )
    return tuple(float(each) for each in value)

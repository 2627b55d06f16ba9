"""The runs that have a name, and their parameters as the papers' code has them.

The published code counts iterations at step 1e-3 of the mean squared error, twice our loss:
iteration i is flow time t = 2e-3 i.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import reluflow

if TYPE_CHECKING:  # it takes a second to import, and arguments are refused before
    import jax

SUFFIXES = (".csv", ".npz")  # of files of data of one's own


class Name(StrEnum):
    """Names on the command line."""

    two_points = "two-points"
    five_points = "five-points"
    orthonormal = "orthonormal"
    gaussian_teacher = "gaussian-teacher"


class Labels(StrEnum):
    normal = "normal"
    positive = "positive"


class Integrator(StrEnum):
    """Names of `--integrator`: rf.Boost, and Runge-Kutta solvers of diffrax with located events."""

    boost = "boost"
    dopri8 = "dopri8"
    tsit5 = "tsit5"
    dopri5 = "dopri5"
    kvaerno5 = "kvaerno5"


class Shape(NamedTuple):
    """What can be asked of a random data set; None where not asked for."""

    samples: int | None
    dim: int | None
    labels: Labels | None


class Experiment(NamedTuple):
    """Defaults of a run.

    Fields:
        neurons: m.
        scale: of the initialisation, as text; lambda = scale / sqrt(m d).
        data: (key, shape) -> data set.
        stages: flow times of the four pictures of the paper, at its scale; None where it has none.
            Elsewhere they are chosen by the plateaus.
        growths, settling: where the inputs are not orthogonal, so that nothing predicts the later
            drops, a run ends at `growths` times the growth of the second sign (see `_forecast`) and
            `settling` / the rate of the first. Measured, so that the loss falls below 1e-3 of what
            it was, at lambda from 1e-4 to 1e-400.
        size: shape -> (n, d) of these data.
        options: the fields of `Shape` that `data` knows.
        signs: whether all labels are 1 and -1.
        guessed: whether nothing was measured for these data, so that a run may end too early where
            the inputs are not orthogonal.
        integrator: rf.Boost, the library's default, unless the problem is so small that to compile
            it takes longer than everything else.
    """

    neurons: int
    scale: str
    data: Callable[["jax.Array", Shape], "reluflow.Dataset"]
    size: Callable[[Shape], tuple[int, int]]
    options: tuple[str, ...] = ()
    stages: tuple[float, ...] | None = None
    growths: float = 1.0
    settling: float = 10.0
    signs: bool = False
    guessed: bool = False
    integrator: Integrator = Integrator.boost


def _orthonormal_size(shape: Shape) -> tuple[int, int]:
    samples = shape.samples or 16
    return samples, shape.dim or samples


def _orthonormal(key: "jax.Array", shape: Shape) -> "reluflow.Dataset":
    labels = shape.labels or Labels.normal
    return reluflow.datasets.orthonormal(key, *_orthonormal_size(shape), labels=labels.value)


def _teacher_size(shape: Shape) -> tuple[int, int]:
    return shape.samples or 75, shape.dim or 150


def own_experiment(
    size: tuple[int, int], data: Callable[[], "reluflow.Dataset"], signs: bool
) -> Experiment:
    """Of (n, d) data of one's own: a small start, and what was measured on five points, which
    slide.

    How much later than the first growth the last drop comes, nobody knows where the inputs are not
    orthogonal; `--until-rest` does not have to.
    """
    own = Experiment(50, "1e-6", lambda key, shape: data(), lambda shape: size, signs=signs)
    return guessed(own)


def guessed(experiment: Experiment) -> Experiment:
    """Where nothing was measured."""
    five = EXPERIMENTS[Name.five_points]
    return experiment._replace(
        stages=None, growths=five.growths, settling=five.settling, guessed=True
    )


def _gaussian_teacher(key: "jax.Array", shape: Shape) -> "reluflow.Dataset":
    return reluflow.datasets.gaussian_teacher(key, *_teacher_size(shape))


EXPERIMENTS = {
    # 2022, Fig. 2 and 3: 20000 iterations (t = 40), pictures at 0, 4000, 8000 and 15000.
    Name.two_points: Experiment(
        60,
        "1e-6",
        lambda key, shape: reluflow.datasets.two_points(),
        lambda shape: (2, 2),
        stages=(0.0, 8.0, 16.0, 30.0),
        signs=True,
        integrator=Integrator.dopri8,
    ),
    # 2022, Fig. 4: about 300000 iterations (t = 600).
    Name.five_points: Experiment(
        60,
        "1e-4",
        lambda key, shape: reluflow.datasets.five_points(),
        lambda shape: (5, 2),
        growths=3.3,
        settling=78.0,
        integrator=Integrator.dopri8,
    ),
    Name.orthonormal: Experiment(
        40, "1e-8", _orthonormal, _orthonormal_size, ("samples", "dim", "labels")
    ),
    # 2022, Fig. 6 and 7: 200000 iterations (t = 400).
    Name.gaussian_teacher: Experiment(
        200,
        "1e-20",
        _gaussian_teacher,
        _teacher_size,
        ("samples", "dim"),
        growths=1.2,
        settling=20.0,
    ),
}

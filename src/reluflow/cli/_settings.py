"""What was asked for, checked before anything is compiled or written."""

import dataclasses
import decimal
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import reluflow

from ._choices import RELU, Activation
from ._experiments import (
    EXPERIMENTS,
    SUFFIXES,
    Experiment,
    Integrator,
    Name,
    Shape,
    guessed,
    own_experiment,
)

_SMALLEST, _LARGEST = decimal.Decimal("1e-1000000"), decimal.Decimal("1e3")  # what was tried
# From this ln(1/scale) on, the steps of a Runge-Kutta solver, a few for each e-fold of a neuron,
# take longer than the compilation of rf.Boost, which takes none there. Where units slide, neurons
# that shrink along their boundaries keep those steps short: 20 to 70 for each unit of time.
_LONG_PLATEAUS, _LONG_SLIDES = 1e4, 100.0
# Floats that a run holds for each unit (events, preactivations, velocities) and each weight, about.
_PER_UNIT, _PER_WEIGHT = 40, 20


@dataclass(frozen=True)
class Settings:
    """One run. `scale` stays text, since 1e-1000 is no float.

    name, own: one of `EXPERIMENTS`; or the stem of a file of one's own, and what a run of it is.
    t1, integrator: None where they were not given, until `complete`. t1 is infinite where the run
    is to end at rest, until that has been found.
    """

    name: str
    neurons: int
    scale: str
    seed: int
    t1: float | None
    rtol: float
    integrator: Integrator | None
    out: Path
    descent_step: float | None
    shape: Shape
    own: Experiment | None = None
    loss: str = "square"
    activation: Activation = RELU

    @property
    def experiment(self) -> Experiment:
        found = EXPERIMENTS[Name(self.name)] if self.own is None else self.own
        return found if self.as_in_papers else guessed(found)

    @property
    def as_in_papers(self) -> bool:
        """Whether what the papers predict and measure is of this loss and this activation."""
        return self.loss == "square" and self.activation == RELU

    @property
    def heading(self) -> str:
        """The name of the problem, and what is not as in the papers."""
        if self.as_in_papers:
            return self.name
        return f"{self.name}, {self.loss} loss, activation {self.activation}"

    def made_loss(self) -> Any:
        return getattr(reluflow, self.loss)

    def problem(self) -> tuple["reluflow.Network", "reluflow.Dataset"]:
        """The start and the data; the seed gives each a key of its own."""
        import jax  # not before arguments have been refused

        data_key, net_key = jax.random.split(jax.random.key(self.seed))
        data = self.experiment.data(data_key, self.shape)
        log_lambda = log_of(self.scale) - 0.5 * math.log(self.neurons * data.dim)
        activation = self.activation.made()
        net = reluflow.balanced(net_key, self.neurons, data.dim, log_lambda, activation=activation)
        return net, data

    def complete(self, t1: float) -> "Settings":
        """With this t1 where none was given, and an integrator that suits it."""
        t1 = t1 if self.t1 is None else self.t1
        integrator = self.integrator or self.experiment.integrator
        slides = self.name in (Name.five_points, Name.gaussian_teacher)
        longest = _LONG_SLIDES if slides else _LONG_PLATEAUS
        if self.integrator is None and -log_of(self.scale) > longest:
            integrator = Integrator.boost
        return dataclasses.replace(self, t1=t1, integrator=integrator)

    def ending(self, time: float) -> "Settings":
        """With t1 there, or at the first whole number of steps of a descent after it."""
        step = self.descent_step
        t1 = time if step is None else math.ceil(time / step) * step
        return dataclasses.replace(self, t1=t1)

    @property
    def end(self) -> float:
        """t1, once it is known."""
        assert self.t1 is not None
        return self.t1

    @property
    def is_the_papers(self) -> bool:
        """Whether a time that the paper gives means the same here."""
        return self.as_in_papers and log_of(self.scale) == log_of(self.experiment.scale)

    def descent_steps(self) -> int:
        assert self.descent_step is not None
        return round(self.end / self.descent_step)


def log_of(scale: str) -> float:
    """ln(scale), of a positive decimal number of any size."""
    with decimal.localcontext() as context:
        context.prec = 30
        return float(decimal.Decimal(scale).ln())


def named(text: str) -> tuple[str, Experiment | None]:
    """(name, None) of an experiment, or (stem, experiment) of a file of data."""
    if Path(text).suffix.lower() in SUFFIXES:
        return _own(Path(text))
    try:
        return Name(text).value, None
    except ValueError:
        raise wrong(
            "EXPERIMENT",
            f"there is no {text!r}; there are {', '.join(EXPERIMENTS)}, or a file .csv or .npz of "
            "one's own.",
        ) from None


def _own(path: Path) -> tuple[str, Experiment]:
    from . import _own_data  # and NumPy with it, which the papers' problems need not wait for

    try:
        x, y = _own_data.arrays(path)
    except ValueError as error:
        raise wrong("EXPERIMENT", str(error)) from error
    signs = bool((abs(y) == 1.0).all())
    return path.stem, own_experiment(x.shape, lambda: _own_data.as_dataset(path, x, y), signs)


def wrong(option: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=option)


def check(settings: Settings) -> None:
    """Raises typer.BadParameter, which ends the program with code 2 and names the option."""
    _check_scale(settings.scale)
    if not 0 <= settings.seed < 2**63:
        raise wrong("--seed", f"must be an integer in [0, 2^63), but it is {settings.seed}.")
    if settings.t1 is not None and not settings.t1 > 0.0:  # NaN is not either
        raise wrong("--t1", f"must be a positive flow time, but it is {settings.t1}.")
    if not 1e-13 <= settings.rtol <= 1e-1:
        raise wrong(
            "--rtol", f"must be between 1e-13 (float64) and 0.1, but it is {settings.rtol}."
        )
    step = settings.descent_step
    if step is not None and not (math.isfinite(step) and step > 0.0):
        raise wrong("--compare-descent", f"must be a positive step, but it is {step}.")
    _check_loss(settings)
    _check_memory(settings)
    for option in ("samples", "dim", "labels"):
        given = getattr(settings.shape, option)
        if given is not None and option not in settings.experiment.options:
            raise wrong(f"--{option}", f"{settings.name} has no such choice.")


def _check_loss(settings: Settings) -> None:
    if settings.loss == "square":
        return
    if not settings.experiment.signs:
        raise wrong(
            "--loss",
            f"{settings.loss} is for labels 1 and -1, but {settings.name} has others: take "
            f"{Name.two_points}, or a file of one's own.",
        )
    if settings.t1 is not None and math.isinf(settings.t1):
        raise wrong(
            "--until-rest, --t1",
            f"no flow comes to rest under the {settings.loss} loss, which falls for ever: give a "
            "finite --t1.",
        )


def _check_memory(settings: Settings) -> None:
    """XLA ends the program, without a word that helps, where there is not enough."""
    m, (n, d) = settings.neurons, settings.experiment.size(settings.shape)
    needed = 8 * (_PER_UNIT * m * n + _PER_WEIGHT * (m + n) * d)
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return
    if needed > there:
        raise wrong(
            "--neurons, --samples, --dim",
            f"are too large: {m} neurons on {n} samples of dimension {d} need about "
            f"{needed / 2**30:.3g} GiB, and this machine has {there / 2**30:.3g}.",
        )


def _check_scale(scale: str) -> None:
    try:
        value = decimal.Decimal(scale)
    except decimal.InvalidOperation:
        raise wrong("--scale", f"must be a number such as 1e-6, but it is {scale!r}.") from None
    if not (value.is_finite() and value > 0):
        raise wrong("--scale", f"must be positive and finite, but it is {scale}.")
    if not _SMALLEST <= value <= _LARGEST:
        raise wrong(
            "--scale",
            f"must be between {_SMALLEST:e} and {_LARGEST:e}, but it is {scale}.",
        )


def check_descent(settings: Settings) -> None:
    """Raises typer.BadParameter where no whole number of steps ends at t1."""
    step, t1 = settings.descent_step, settings.end
    if step is None or math.isinf(t1):
        return
    if step > t1:
        raise wrong("--compare-descent", f"must be at most t1 = {t1:g}, but it is {step:g}.")
    if abs(round(t1 / step) * step - t1) > 1e-9 * t1:
        raise wrong(
            "--compare-descent",
            f"must divide t1 = {t1:g}, so that both end at the same time, but it is {step:g}.",
        )


def enable_float64() -> None:
    """The command line is a program, and may set what the library must not."""
    import jax

    jax.config.update("jax_enable_x64", True)

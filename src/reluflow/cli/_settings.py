"""What was asked for, checked before anything is compiled or written."""

import decimal
import math
import os
from dataclasses import dataclass
from pathlib import Path

import diffrax
import jax
import jax.random as jr
import typer

from .._boost import Boost
from .._dataset import Dataset
from .._initialisation import balanced
from .._network import Network
from .._runge_kutta import RungeKutta
from ._experiments import EXPERIMENTS, Experiment, Integrator, Name, Shape

INTEGRATORS = {
    Integrator.boost: Boost,
    Integrator.dopri8: lambda: RungeKutta(diffrax.Dopri8()),
    Integrator.tsit5: lambda: RungeKutta(diffrax.Tsit5()),
    Integrator.dopri5: lambda: RungeKutta(diffrax.Dopri5()),
    Integrator.kvaerno5: lambda: RungeKutta(diffrax.Kvaerno5()),
}


@dataclass(frozen=True)
class Settings:
    """One run. `scale` stays text, since 1e-1000 is no float."""

    name: Name
    neurons: int
    scale: str
    seed: int
    t1: float
    rtol: float
    integrator: Integrator
    out: Path
    descent_step: float | None
    shape: Shape

    @property
    def experiment(self) -> Experiment:
        return EXPERIMENTS[self.name]

    def problem(self) -> tuple[Network, Dataset]:
        """The start and the data; the seed gives each a key of its own."""
        data_key, net_key = jr.split(jr.key(self.seed))
        data = self.experiment.data(data_key, self.shape)
        log_lambda = log_of(self.scale) - 0.5 * math.log(self.neurons * data.dim)
        return balanced(net_key, self.neurons, data.dim, log_lambda), data

    def descent_steps(self, step: float) -> int:
        return round(self.t1 / step)


def log_of(scale: str) -> float:
    """ln(scale), of a positive decimal number of any size."""
    with decimal.localcontext() as context:
        context.prec = 30
        return float(decimal.Decimal(scale).ln())


def wrong(option: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=option)


def check(settings: Settings) -> None:
    """Raises typer.BadParameter, which ends the program with code 2 and names the option."""
    _check_scale(settings.scale)
    if not (math.isfinite(settings.t1) and settings.t1 > 0.0):
        raise wrong("--t1", f"must be a positive flow time, but it is {settings.t1}.")
    if not 1e-13 <= settings.rtol <= 1e-1:
        raise wrong(
            "--rtol", f"must be between 1e-13 (float64) and 0.1, but it is {settings.rtol}."
        )
    _check_descent(settings)
    for option in ("samples", "dim", "labels"):
        given = getattr(settings.shape, option)
        if given is not None and option not in settings.experiment.options:
            raise wrong(f"--{option}", f"{settings.name} has no such choice.")
    check_out(settings.out)


def _check_scale(scale: str) -> None:
    try:
        value = decimal.Decimal(scale)
    except decimal.InvalidOperation:
        raise wrong("--scale", f"must be a number such as 1e-6, but it is {scale!r}.") from None
    if not (value.is_finite() and value > 0):
        raise wrong("--scale", f"must be positive and finite, but it is {scale}.")


def _check_descent(settings: Settings) -> None:
    step, t1 = settings.descent_step, settings.t1
    if step is None:
        return
    if not (math.isfinite(step) and 0.0 < step <= t1):
        raise wrong("--compare-descent", f"must be a step in (0, t1], but it is {step}.")
    if abs(round(t1 / step) * step - t1) > 1e-9 * t1:
        raise wrong(
            "--compare-descent",
            f"must divide t1 = {t1:g}, so that both end at the same time, but it is {step:g}.",
        )


def check_out(out: Path) -> None:
    """Raises typer.BadParameter where no files can be written to this directory."""
    if out.exists() and not out.is_dir():
        raise wrong("--out", f"must be a directory, but {out} is a file.")
    existing = out.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise wrong("--out", f"cannot be made, since {existing} is a file.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise wrong("--out", f"cannot be written: no permission in {existing}.")


def enable_float64() -> None:
    """The command line is a program, and may set what the library must not."""
    jax.config.update("jax_enable_x64", True)

"""The integrators by their names."""

from functools import partial

import diffrax

from .._boost import Boost
from .._runge_kutta import RungeKutta
from ._experiments import Integrator

INTEGRATORS = {
    Integrator.boost: Boost,
    Integrator.dopri8: partial(RungeKutta, diffrax.Dopri8()),
    Integrator.tsit5: partial(RungeKutta, diffrax.Tsit5()),
    Integrator.dopri5: partial(RungeKutta, diffrax.Dopri5()),
    Integrator.kvaerno5: partial(RungeKutta, diffrax.Kvaerno5()),
}

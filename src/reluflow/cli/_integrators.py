"""The integrators by their names."""

import diffrax

from .._boost import Boost
from .._runge_kutta import RungeKutta
from ._experiments import Integrator

INTEGRATORS = {
    Integrator.boost: Boost,
    Integrator.dopri8: lambda: RungeKutta(diffrax.Dopri8()),
    Integrator.tsit5: lambda: RungeKutta(diffrax.Tsit5()),
    Integrator.dopri5: lambda: RungeKutta(diffrax.Dopri5()),
    Integrator.kvaerno5: lambda: RungeKutta(diffrax.Kvaerno5()),
}

"""Integrator B. Read `_path` for the equations, then `_walk`, `_hop`, `_sweep` and `_closure`."""

from ._integrator import BoostIntegrator as BoostIntegrator
from ._solver import Boost as Boost
from ._solver import field as field

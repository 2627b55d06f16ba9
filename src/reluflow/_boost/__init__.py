"""Integrator B: START at `_path.py` for the equations, then `_walk`, `_hop`, `_sweep`, `_closure`."""

from ._integrator import BoostIntegrator as BoostIntegrator

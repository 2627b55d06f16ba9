"""Exact gradient flow of one-hidden-layer ReLU networks from small initialisation."""

from . import analysis as analysis, datasets as datasets, theory as theory
from ._dataset import Dataset as Dataset
from ._network import Network as Network
from ._initialisation import balanced as balanced, he_uniform as he_uniform, unbalanced as unbalanced
from ._loss import loss as loss
from ._flow import flow as flow
from ._integrator import AbstractIntegrator as AbstractIntegrator
from ._runge_kutta import RungeKutta as RungeKutta
from ._descent import descent as descent
from ._solution import Events as Events, RESULTS as RESULTS, Solution as Solution

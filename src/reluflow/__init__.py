"""Exact gradient flow of one-hidden-layer ReLU networks from small initialisation."""

from . import analysis as analysis
from . import datasets as datasets
from . import theory as theory
from ._activation import TwoSlope as TwoSlope
from ._activation import absolute as absolute
from ._activation import leaky_relu as leaky_relu
from ._activation import linear as linear
from ._activation import relu as relu
from ._boost import Boost as Boost
from ._boost import field as field
from ._compiling import compiler_options as compiler_options
from ._dataset import Dataset as Dataset
from ._descent import descent as descent
from ._event_buffers import Ambiguities as Ambiguities
from ._event_buffers import Events as Events
from ._flow import flow as flow
from ._initialisation import balanced as balanced
from ._initialisation import he_uniform as he_uniform
from ._initialisation import unbalanced as unbalanced
from ._integrator import AbstractIntegrator as AbstractIntegrator
from ._loss import loss as loss
from ._losses import Loss as Loss
from ._losses import exponential as exponential
from ._losses import logistic as logistic
from ._losses import square as square
from ._modes import Mode as Mode
from ._network import Network as Network
from ._results import RESULTS as RESULTS
from ._runge_kutta import RungeKutta as RungeKutta
from ._solution import Solution as Solution

# The function stands in the place of its package here: `from reluflow.sweep import load` finds the
# rest of it.
from .sweep import sweep as sweep

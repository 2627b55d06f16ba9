"""The boost integrator inside `rf.flow`: its state, its step size."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._checks import is_concrete
from .._dataset import Dataset
from .._field import Pattern, Problem, predictions, Neurons
from .._network import Network
from .._shapes import Hidden, PerNeuron, Scalar, UnitFlags, Units
from .._solution import RESULTS
from .._state import balanced_output, initial_balance
from ._closure import attempt
from ._collocation import NUM_NODES
from ._sweep import Start

_LN2 = float(np.log(2.0))


class BoostState(eqx.Module):
    time: Scalar
    log_scale: PerNeuron
    output: PerNeuron
    hidden: Hidden
    preactivation: Units
    balance: PerNeuron
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]
    residual: Array
    step_size: Scalar
    nodes: Float[Array, "nodes samples"]
    last: Scalar
    rtol: Scalar
    bound: Scalar
    noise: Scalar

"""The shapes of the library, read with jaxtyping: `Neurons`, `Samples`, and so on.

neurons   m, the width of the hidden layer
samples   n, the number of data points
boundaries  the lines through inputs, see `_arrangement`
dim       d, the dimension of an input
time      saved times
...       leading axes: the time axis of a trajectory, the lanes of a vmap
"""

from typing import TYPE_CHECKING

import numpy as np
from equinox.internal._loop.common import _Buffer
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    Buffer = Array
else:  # an array that a loop writes in place: `eqxi.while_loop` wraps it while it runs
    Buffer = Array | _Buffer

Key = Array | np.ndarray  # of jax.random, of either style

PerNeuron = Float[Array, "*#batch neurons"]
PerSample = Float[Array, "*#batch samples"]
PerBoundary = Float[Array, "*#batch boundaries"]
Hidden = Float[Array, "*#batch neurons dim"]
Inputs = Float[Array, "samples dim"]
Labels = Float[Array, " samples"]
Gram = Float[Array, "inputs inputs"]
Units = Float[Array, "*#batch neurons boundaries"]
UnitModes = Int[Array, "neurons boundaries"]
UnitFlags = Bool[Array, "neurons boundaries"]
Scalar = Float[Array, ""]

"""The shapes of the library, read with jaxtyping: `Neurons`, `Samples`, and so on.

neurons   m, the width of the hidden layer
samples   n, the number of data points
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
Hidden = Float[Array, "*#batch neurons dim"]
Inputs = Float[Array, "samples dim"]
Labels = Float[Array, " samples"]
Gram = Float[Array, "samples samples"]
Units = Float[Array, "*#batch neurons samples"]
UnitModes = Int[Array, "neurons samples"]
UnitFlags = Bool[Array, "neurons samples"]
Scalar = Float[Array, ""]

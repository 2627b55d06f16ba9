"""The numbers that decide what is on a boundary, and what is zero there. There are no others."""

import numpy as np

EPS = float(np.finfo(np.float64).eps)

# <w_j, u_b> is known to this many times |theta_j| |u_b|: the inner product of a start, and every
# step, leave a few roundings. A unit nearer to its boundary than this stands on it.
ON_BOUNDARY = 64.0 * EPS

# Of bare weights that is not known to better than this: they may come from a run whose steps have
# added up their roundings.
AT_START = 4.0 * ON_BOUNDARY

# A velocity of a preactivation, and an alpha, are compared with zero up to this many times the sum
# of the absolute values that they are made of: rounding, and nothing physical, decides below.
ROUNDING = 1e-14

# The same for a unit alone, in terms of its own part of the velocity, where that sum is not at
# hand: it allows for other samples whose pull is a hundred times that of the unit's own.
ROUNDING_ALONE = 100.0 * ROUNDING

# An input whose part outside the span of others is smaller than this, relative to itself, lies in
# that span: what is left is rounding.
DEPENDENT = 64.0 * EPS

# Where the Gram matrix stands for the inputs, this shift of its diagonal splits the pull of
# dependent ones evenly. It changes nothing where they are independent.
REGULARISATION = 1e-14

# Two solutions of a complementarity problem are one flow if their forces agree to this many times
# the sum of all pulls.
SAME_FORCE = 1e-10

# A neuron that comes back to w = 0 with the residuals frozen is there within this part of the way
# that it went. Its path is made of straight lines, so only rounding is left.
RETURNED = 1e-10

# Where all preactivations of a neuron vanish at one instant, some may be this many times further
# from their boundaries than they are known: those that are faster by as much than the unit that
# told the instant.
SAME_INSTANT = 1e4

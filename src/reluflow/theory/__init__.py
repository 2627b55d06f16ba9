"""What the papers prove, as functions."""

from ._minimal_norm import minimal_squared_norm as minimal_squared_norm

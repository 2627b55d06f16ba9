"""Where the flow is not determined: who, when, at which boundaries, and why."""

from typing import Final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

REPELS: Final = 0
VANISHES: Final = 1
LEAVES: Final = 2
RESTS: Final = 3

KINDS: Final = (
    "the boundary repels either way: alpha = 0 was taken",
    "the output vanishes while the neuron slides: it left to the inactive side",
    "several directions lead out of w = 0: that of the arriving velocity was taken",
    "at rest at w = 0, with too many directions to tell when one leads out",
)


class Ambiguity(eqx.Module):
    """Of one neuron at one instant: at which boundaries, and of which of the `KINDS`."""

    at: Bool[Array, " boundaries"]
    kind: Int[Array, ""]

    @classmethod
    def none(cls, boundaries: int) -> "Ambiguity":
        return cls(jnp.zeros((boundaries,), bool), jnp.array(0, jnp.int8))

    def unless(self, condition) -> "Ambiguity":
        return Ambiguity(self.at & ~condition, self.kind)

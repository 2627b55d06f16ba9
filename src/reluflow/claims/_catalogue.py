"""All claims, in the order of the papers."""

from ._claim import Claim
from .invariants import CLAIMS as _INVARIANTS

CATALOGUE: tuple[Claim, ...] = (*_INVARIANTS,)

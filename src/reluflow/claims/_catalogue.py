"""All claims, in the order of the papers."""

from ._claim import Claim
from .alignment import CLAIMS as _ALIGNMENT
from .invariants import CLAIMS as _INVARIANTS
from .phases import CLAIMS as _PHASES
from .saddles import CLAIMS as _SADDLES

CATALOGUE: tuple[Claim, ...] = (*_INVARIANTS, *_ALIGNMENT, *_PHASES, *_SADDLES)

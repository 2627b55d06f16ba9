"""All claims, in the order of the papers; those of the review of 2022 behind its own."""

from ._claim import Claim
from .alignment import CLAIMS as _ALIGNMENT
from .boundaries import CLAIMS as _BOUNDARIES
from .convergence import CLAIMS as _CONVERGENCE
from .figures_2022 import CLAIMS as _FIGURES_2022
from .figures_2026 import CLAIMS as _FIGURES_2026
from .invariants import CLAIMS as _INVARIANTS
from .jump_process import CLAIMS as _JUMP_PROCESS
from .leaky import CLAIMS as _LEAKY
from .mild_overparameterisation import CLAIMS as _MILD_OVERPARAMETERISATION
from .minimal_norm import CLAIMS as _MINIMAL_NORM
from .overparameterisation import CLAIMS as _OVERPARAMETERISATION
from .phases import CLAIMS as _PHASES
from .relaxations import CLAIMS as _RELAXATIONS
from .review import CLAIMS as _REVIEW
from .saddles import CLAIMS as _SADDLES
from .scale import CLAIMS as _SCALE

CATALOGUE: tuple[Claim, ...] = (
    *_INVARIANTS,
    *_ALIGNMENT,
    *_PHASES,
    *_SADDLES,
    *_CONVERGENCE,
    *_MINIMAL_NORM,
    *_BOUNDARIES,
    *_OVERPARAMETERISATION,
    *_SCALE,
    *_RELAXATIONS,
    *_LEAKY,
    *_FIGURES_2022,
    *_REVIEW,
    *_JUMP_PROCESS,
    *_MILD_OVERPARAMETERISATION,
    *_FIGURES_2026,
)

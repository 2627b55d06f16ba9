"""The mode of a unit: what neuron j does at boundary b."""

import enum
from typing import Final

INACTIVE: Final = 0
ACTIVE: Final = 1
SLIDING: Final = 2
RESTING: Final = 3


class Mode(enum.IntEnum):
    """What neuron j does at boundary b, as `sol.events.before` and `after` say it.

    INACTIVE  <w_j, u_b> < 0, alpha_jb = 0: on the negative side
    ACTIVE    <w_j, u_b> > 0, alpha_jb = 1: on the positive side
    SLIDING   <w_j, u_b> = 0, held there by alpha_jb in (0, 1) (Filippov)
    RESTING   <w_j, u_b> = 0, where nothing pulls along u_b (relu'(0) = 0; 2022, Lemma 6 and
              Prop. 2); all units of a neuron that has come to w = 0, until it is let go

    u_b is the input of the boundary's first sample. A sample at x = -u_b is active where the
    boundary is INACTIVE.
    """

    INACTIVE = INACTIVE
    ACTIVE = ACTIVE
    SLIDING = SLIDING
    RESTING = RESTING


NAMES: Final = tuple(mode.name.lower() for mode in Mode)

"""The mode of a unit (j, k): what neuron j does on sample k.

INACTIVE  <w_j, x_k> < 0, alpha_jk = 0
ACTIVE    <w_j, x_k> > 0, alpha_jk = 1
SLIDING   <w_j, x_k> = 0, held there by alpha_jk in (0, 1) (Filippov)
RESTING   <w_j, x_k> = 0, alpha_jk = 0, at rest (sigma'(0) = 0; 2022, Lemma 6 and Prop. 2)
"""

from typing import Final

INACTIVE: Final = 0
ACTIVE: Final = 1
SLIDING: Final = 2
RESTING: Final = 3

NAMES: Final = ("inactive", "active", "sliding", "resting")

"""What comes after a boundary, after w = 0, out of a slide and at a start: decided here, once,
for both integrators. Read `_transition` first, then `_complementarity`.
"""

from ._ambiguity import KINDS as KINDS
from ._ambiguity import Ambiguity as Ambiguity
from ._complementarity import Boundary as Boundary
from ._complementarity import settle as settle
from ._thresholds import ON_BOUNDARY as ON_BOUNDARY
from ._transition import Fired as Fired
from ._transition import Standing as Standing
from ._transition import Transition as Transition
from ._transition import alone as alone
from ._transition import on_boundary as on_boundary
from ._transition import places as places
from ._transition import ties as ties
from ._transition import transition as transition

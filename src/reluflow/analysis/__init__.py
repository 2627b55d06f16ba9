"""What a trajectory went through."""

from ._plateaus import Plateau as Plateau
from ._plateaus import plateaus as plateaus

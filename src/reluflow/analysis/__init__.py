"""What a trajectory went through."""

from ._phases import Phase as Phase
from ._phases import Phases as Phases
from ._phases import phases as phases
from ._plateaus import Plateau as Plateau
from ._plateaus import plateaus as plateaus
from ._saddles import Saddle as Saddle
from ._saddles import saddles as saddles

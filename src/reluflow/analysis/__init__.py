"""What a trajectory went through."""

from ._alignment import Alignment as Alignment
from ._alignment import alignment as alignment
from ._clusters import Cluster as Cluster
from ._clusters import clusters as clusters
from ._clusters import effective_neurons as effective_neurons
from ._invariants import balance_drift as balance_drift
from ._invariants import local_pl as local_pl
from ._invariants import norm_ratio as norm_ratio
from ._invariants import reactivations as reactivations
from ._jumps import Jump as Jump
from ._jumps import jumps as jumps
from ._kinks import Kink as Kink
from ._kinks import kinks as kinks
from ._logistic import Logistic as Logistic
from ._logistic import logistic_fit as logistic_fit
from ._phases import Phase as Phase
from ._phases import Phases as Phases
from ._phases import phases as phases
from ._plateaus import Plateau as Plateau
from ._plateaus import plateaus as plateaus
from ._principal_components import PrincipalComponents as PrincipalComponents
from ._principal_components import principal_components as principal_components
from ._saddles import Saddle as Saddle
from ._saddles import saddles as saddles
from ._unfitted import Unfitted as Unfitted
from ._unfitted import unfitted as unfitted

"""Pictures of a flow: its loss, its phases and saddles, and the states it passes through; and of
sweeps over thousands of them.

Every function takes `ax=None` (or `axes=None`) and returns what it drew on; the figure is
`ax.figure`. Figures are made without pyplot, so that nothing global is touched and a machine
without a screen will do: `ax.figure.savefig("loss.png")`.

Needs matplotlib, which comes with `pip install 'reluflow[cli]'`.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "reluflow.plot needs matplotlib, which is not installed: pip install 'reluflow[cli]'."
    ) from error

from ._bands import bands as bands
from ._kinks import kinks as kinks
from ._log_norms import log_norms as log_norms
from ._loss_curve import loss_curve as loss_curve
from ._phases import phases as phases
from ._principal_components import principal_components as principal_components
from ._saddles import saddles as saddles
from ._states import state as state
from ._states import states as states
from ._sweep_curves import sweep_band as sweep_band
from ._sweep_curves import sweep_probability as sweep_probability
from ._sweep_curves import sweep_threshold as sweep_threshold
from ._sweep_times import sweep_times as sweep_times

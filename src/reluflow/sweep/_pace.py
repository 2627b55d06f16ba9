"""How many lanes keep a batch short: Ctrl-C waits for its end, and progress is seen there.

Another number of lanes compiles anew (12 s for a flow of 16 neurons on 2 cores, at 1 lane as at 64)
and moves last bits, so that it is worth it for batches of minutes, and never for some seconds (the
longest of 64 lanes was 37 s, at 512 neurons). The chunks stay as they are, and a kill still
loses one of them at most: by default 64 points, as many as the first batch had.
"""

import math

from ._plan import Plan

_AIM, _LONGEST = 30.0, 60.0  # seconds of a batch
_WORSE = 1.5  # times as long for a lane: what smaller batches must not cost


class Pace:
    """Of one segment: the lanes of its next chunk, by the batches that were timed.

    What is chosen stands in the store, which decides after an interruption.
    """

    def __init__(self, plan: Plan, number: int):
        lanes = plan.segments[number].lanes
        # Where they were fewer once, that did not help.
        self._settled = any(
            entry["segment"] == number and entry["lanes"] < lanes for entry in plan.halved
        )
        self._before: tuple[int, float] | None = None  # lanes, and seconds of a batch
        self._last: tuple[int, float] | None = None

    def timed(self, lanes: int, seconds: float) -> None:
        self._last = lanes, seconds

    def lanes(self) -> int | None:
        """Another number of lanes for the next chunk; None where it is to stay."""
        if self._last is None or self._settled:
            return None
        (lanes, seconds), self._last = self._last, None
        if self._before is not None:
            before, self._before = self._before, None
            if seconds / lanes > _WORSE * before[1] / before[0]:
                # The lanes run side by side, as on a GPU that is not full.
                self._settled = True
                return before[0]
        if seconds <= _LONGEST or lanes == 1:
            return None
        self._before = lanes, seconds
        return max(lanes >> round(math.log2(seconds / _AIM)), 1)

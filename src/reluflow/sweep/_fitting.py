"""How many lanes the memory holds: what the compiler says of a program, checked by a probe.

Where the memory of an accelerator is too small, an error is raised, and the batch is halved. On a
CPU none is: the system ends the process. And there the compiler leaves out what kernels allot for
themselves: for the sum of x @ x.T with an x of 8 MB a lane, it says 0.5 MB of 64 lanes, which take
725 MB.
"""

import contextlib
import ctypes
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from ._host import room
from ._program import Inputs, Program, Traced, is_out_of_memory

_HEADROOM = 0.6  # of the free memory, that a program may take
_UNKNOWN = 8  # lanes on a CPU of whose memory nothing can be known
# What malloc gives again, of what was freed before, is no growth of the process. It is asked to
# return all of that first; this much is allowed for what it keeps (its largest threshold of mmap).
_UNSEEN = 2**25


class Fitting:
    """Remembers what probes have found of the programs of one process."""

    def __init__(self, wait: Callable[[Callable[[], Any]], Any] = lambda work: work()):
        self._wait = wait  # runs what takes long
        self._found: dict[Hashable, tuple[int, int]] = {}  # lanes asked for, and that fit

    def lanes(
        self, kind: Hashable, program: Program, traced: Traced, inputs: Inputs
    ) -> tuple[int, str]:
        """(lanes, why): those of the compiled program, or as many fewer as the memory holds.

        kind: what is traced, in one word. inputs: one point, with which a probe is run.
        """
        lanes, device = program.lanes, program.devices[0]
        free, said = room(program.devices), program.memory()
        silent = device.platform == "cpu"  # where nothing is raised
        allowed = None if free is None else _HEADROOM * free
        if allowed is not None and said is not None:
            if said > allowed:
                return min(int(allowed / said * lanes), lanes - 1), "The memory is small"
            if not silent:
                return lanes, ""
        # No probe, which compiles once more, where even all arrays that the function names fit.
        if allowed is not None and lanes * traced.size <= allowed:
            return lanes, ""
        if lanes > self._found.get(kind, (0, 0))[0]:
            fits = None
            if allowed is not None:
                fits = _probed(traced, inputs, device, allowed, lanes, self._wait)
            if fits is None and silent:
                fits = _UNKNOWN
            self._found[kind] = lanes, lanes if fits is None else fits
        return min(lanes, self._found[kind][1]), "The memory is small, or not known"


def _probed(traced: Traced, inputs: Inputs, device, allowed: float, lanes: int, wait) -> int | None:
    """Lanes that fit, by what one lane takes, and more of them while that is too coarse.

    All that a program takes is laid to its lanes, so that the answer errs towards few, and what is
    run next fits by what was measured before. None where nothing can be measured.
    """
    tried = 1
    while True:
        small = Program(traced, tried, [device])
        small.lower(inputs)
        try:
            taken = wait(lambda small=small: _taken(small, inputs))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                return None  # of what is measured, which says so itself
            return max(tried // 2, 1)
        if taken is None:
            return None
        fits = max(int(allowed * tried / max(taken, 1)), 1)
        if fits >= lanes or fits < 2 * tried:
            return fits
        tried = fits


def _taken(program: Program, inputs: Inputs) -> int | None:
    """Bytes that the program takes while it runs, at most; None where they cannot be measured.

    A peak of the past may be above that of this run: what is returned is then too large.
    """
    device = program.devices[0]
    program.compile()
    before = _used(device)
    program(inputs)  # (The other lanes repeat the point: what a program allots, it does not see.)
    after = _used(device)
    if before is None or after is None:
        return None
    unseen = _UNSEEN if device.platform == "cpu" else 0
    return max(after[1] - before[0], 0) + unseen


def _used(device) -> tuple[int, int] | None:
    """Bytes in use (now, at the peak); of the process on a CPU, whose peak begins anew here."""
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "peak_bytes_in_use" not in stats:
            return None
        return stats["bytes_in_use"], stats["peak_bytes_in_use"]
    with contextlib.suppress(AttributeError, OSError):  # of another library of C
        ctypes.CDLL(None).malloc_trim(0)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        known = dict(line.split(":", 1) for line in lines)
        found = tuple(int(known[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError, ValueError):
        return None
    with contextlib.suppress(OSError):  # the peak is then that of the whole past
        Path("/proc/self/clear_refs").write_text("5")
    return found[0], found[1]

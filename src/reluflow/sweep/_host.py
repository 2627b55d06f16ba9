"""How much memory there is to run in."""

import os
from pathlib import Path

import jax

_GROUP = Path("/sys/fs/cgroup")  # what a container may use


def room(devices) -> int | None:
    """Bytes that are free on each of the devices, if it can be known.

    Devices of a CPU share the memory of the host. There nothing is raised where it is too small:
    the system ends the process.
    """
    try:
        stats = devices[0].memory_stats()
    except (AttributeError, jax.errors.JaxRuntimeError):
        stats = None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = _free()
    return None if free is None else free // len(devices)


def _free() -> int | None:
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = dict(line.split(":", 1) for line in lines)
        free.append(int(known["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        try:
            free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            return None
    try:
        limit = int((_GROUP / "memory.max").read_text())  # ('max' where there is none)
        free.append(limit - int((_GROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(min(free), 0)

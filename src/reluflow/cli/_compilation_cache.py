"""What the command line has compiled is kept in the user's cache directory, for its next runs."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

_MOST_BYTES = 2**30  # the oldest programs go first

NoCache = Annotated[bool, typer.Option("--no-cache", help="Compile anew, and keep nothing of it.")]


def keep_compiled(wanted: bool) -> None:
    """JAX's persistent compilation cache, unless the user has set one of their own. Where the
    directory cannot be written there is none."""
    import jax  # not before arguments have been refused

    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    place = platformdirs.user_cache_path("reluflow") / "compiled" / _machine()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(place, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.01)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _machine() -> str:
    """A program runs on processors like the one it was compiled on: a home directory may be shared
    by several kinds."""
    kind = [platform.machine(), platform.processor()]
    described = Path("/proc/cpuinfo")
    if described.exists():
        lines = described.read_text(errors="replace").splitlines()
        kind += [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:16]

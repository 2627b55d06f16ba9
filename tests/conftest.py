"""The suite runs in float64, with checked annotations and strict dtype promotion.

hypothesis repeats itself: every run has the same examples.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

# LAPACK's threads wait for each other by turning: with a worker on every core they take 50 times as
# long as one of them alone. Read when scipy is imported, which jax does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import equinox as eqx
import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

# Before reluflow is imported. pytest's own option for this does not reach the workers of xdist.
jaxtyping.install_import_hook("reluflow", "beartype.beartype")

jax.config.update("jax_enable_x64", True)

settings.register_profile(
    "suite",
    deadline=None,  # the first example compiles
    derandomize=True,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# optax itself multiplies counts by rates, and the control of the second replaces our own code.
NOT_STRICT = ("test_descent", "test_against_descent")


# Every compiled program maps some hundred pieces of memory, of which a process of Linux may have
# 65530: beyond them, compilation aborts.
_MAPS = Path("/proc/self/maps")
_MOST_MAPS = 30_000


# LLVM's optimisation takes half of what compilation costs, and a test runs its program for
# milliseconds. (The slow tests take them as users have them.)
_UNOPTIMISED = "--xla_backend_optimization_level=0"


# What one process has compiled is read by the others: workers of xdist, programs that tests start,
# and the same process after its caches were cleared. The directory lives as long as the run.
_CACHE = {
    "jax_compilation_cache_dir": None,
    "jax_persistent_cache_min_compile_time_secs": 0.1,  # faster compiled than written and read
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Where a worker crashes the run has failed. It would wait for ever if xdist replaced the worker
    # (pytest-xdist 1378).
    if getattr(config.option, "maxworkerrestart", "0") is None:
        config.option.maxworkerrestart = "0"
    # In the background of a shell it is ignored, here and by all programs that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Before XLA reads them, here and in the workers and programs that begin later.
    if config.option.markexpr == "not slow":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_UNOPTIMISED}"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.own_cache = tempfile.mkdtemp(prefix="reluflow-tests-")
        _CACHE["jax_compilation_cache_dir"] = config.own_cache
        os.environ |= {name.upper(): str(value) for name, value in _CACHE.items()}
        for name, value in _CACHE.items():
            jax.config.update(name, value)


def pytest_unconfigure(config):
    if hasattr(config, "own_cache"):
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
        shutil.rmtree(config.own_cache, ignore_errors=True)


# Most of a test's time is the compilation of its flows. Files that share shapes and arguments, thus
# compiled programs, go to one worker of xdist; any other file is a group of its own.
TOGETHER = {
    "sixty neurons": {"against_reference", "boost", "invariants", "tiny_initialisation"},
    "six neurons": {
        "bad_input",
        "dense_small",
        "failures",
        "padding",
        "solvers",
        "symmetries",
        "transforms",
    },
    "limit process": {"analysis_unfitted", "theory_limit_process_flow"},
    "analysis": {
        f"analysis_{name}" for name in ("invariants", "neurons", "phases", "plot", "saddles")
    },
}


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            name = Path(nodeid.split("::")[0]).stem.removeprefix("test_")
            return next((group for group, names in TOGETHER.items() if name in names), name)

    config.option.loadscopereorder = False  # in their order the longest are early
    return Together(config, log)


@pytest.fixture
def without_type_checks():
    """For arguments of wrong types: the library has to refuse them itself, in its own words."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def few_memory_maps():
    """(After each test: one file may compile twenty flows.)"""
    yield
    if _MAPS.exists() and len(_MAPS.read_text().splitlines()) > _MOST_MAPS:
        jax.clear_caches()
        eqx.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def strict_dtype_promotion(request):
    """An int and a float never meet by accident."""
    name = request.module.__name__.rpartition(".")[2]
    with jax.numpy_dtype_promotion("standard" if name in NOT_STRICT else "strict"):
        yield

"""The suite runs in float64, with strict dtype promotion; hypothesis repeats itself."""

import pathlib

import equinox as eqx
import jax
import pytest
from hypothesis import HealthCheck, settings

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
_MAPS = pathlib.Path("/proc/self/maps")
_MOST_MAPS = 30_000


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
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

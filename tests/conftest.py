"""The suite runs in float64, the flow with strict dtype promotion; hypothesis repeats itself."""

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

# What multiplies counts by rates: descents, and what calls them.
NOT_STRICT = ("test_descent", "test_against_descent", "test_cli", "test_examples", "test_readme")


@pytest.fixture(scope="module", autouse=True)
def strict_dtype_promotion(request):
    """An int and a float never meet by accident."""
    name = request.module.__name__.rpartition(".")[2]
    with jax.numpy_dtype_promotion("standard" if name in NOT_STRICT else "strict"):
        yield

"""The suite runs in float64, with strict dtype promotion; hypothesis repeats itself."""

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


@pytest.fixture(scope="module", autouse=True)
def strict_dtype_promotion(request):
    """An int and a float never meet by accident."""
    name = request.module.__name__.rpartition(".")[2]
    with jax.numpy_dtype_promotion("standard" if name in NOT_STRICT else "strict"):
        yield

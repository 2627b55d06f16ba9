"""The suite runs in float64, with strict dtype promotion; hypothesis repeats itself."""

import jax
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
jax.config.update("jax_numpy_dtype_promotion", "strict")  # int and float never meet by accident

"""Tools of JAX, linear algebra and checking that know nothing of the flow."""

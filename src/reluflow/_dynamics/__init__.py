"""The field on a pattern, the tangent kernel, and what is known of the flow at rest."""

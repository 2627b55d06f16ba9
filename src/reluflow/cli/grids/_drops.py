"""How often the loss of a flow falls after it stood still, counted inside a compiled program."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...analysis._plateaus import _SLOWER, _STILL, DROP, FLOOR


def drops(ts: Float[Array, " saves"], losses: Float[Array, " saves"]) -> Int[Array, ""]:
    """Plateaus of the loss that the flow leaves; the first is that at the start, if there is one.

    The rate -d ln L / dt between saves is on a plateau ten times below what it is at some time
    before (the start counts as such) and after; and two plateaus differ by 1% of the loss. These
    are the definitions of `rf.analysis.plateaus`, but for its last: whether a slow stretch is the
    tail of a sum of exponentials is not asked, since no tail becomes ten times faster.

    Padded with inf. The saves must resolve the drops, as the steps of an integrator do.
    """
    good = jnp.isfinite(ts) & (losses > FLOOR * losses[0])
    logs = jax.lax.cummin(jnp.log(jnp.where(good, losses, losses[0])))
    apart = jnp.diff(jnp.where(good, ts, 0.0))
    there = good[1:] & good[:-1] & (apart > 0.0)
    rate = jnp.where(there, -jnp.diff(logs) / jnp.where(there, apart, 1.0), 0.0)
    height = jnp.log(jnp.maximum(rate, jnp.maximum(_STILL * jnp.max(rate), 1e-300)))
    prominence = jnp.log(_SLOWER)

    def look(state, here):
        falling, low, level, high, last, count = state
        value, log_loss, known = here
        lower = falling & (value < low)
        left = falling & ~lower & (value - low >= prominence)
        new = left & ((count == 0) | (level < last + jnp.log1p(-DROP)))
        down = ~falling & (high - value >= prominence)
        moved = (
            (falling & ~left) | down,
            jnp.where(lower | down, value, low),
            jnp.where(lower | down, log_loss, level),
            jnp.where(left, value, jnp.where(falling, high, jnp.maximum(high, value))),
            jnp.where(new, level, last),
            count + new.astype(count.dtype),
        )
        return jax.tree.map(lambda a, b: jnp.where(known, a, b), moved, state), None

    begin = (jnp.array(True), height[0], logs[0], height[0], logs[0], jnp.array(0))
    (*_, count), _ = jax.lax.scan(look, begin, (height, logs[:-1], there))
    return count

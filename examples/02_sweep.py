"""The smaller the start, the smaller the norm: a sweep over seeds and lambda, in one program.

    python examples/02_sweep.py

2022, Theorem 1: as lambda -> 0 the flow converges to the interpolator of the smallest norm. One
`vmap` over 4 seeds and 5 values of lambda down to e^-1000 compiles once; lanes that are done
wait for the others, and each reports its own result.
"""

import jax
import jax.numpy as jnp
import numpy as np

import reluflow as rf
from reluflow.theory import minimal_squared_norm

jax.config.update("jax_enable_x64", True)

LOG_LAMBDAS = (-2.0, -4.0, -8.0, -16.0, -1000.0)


def main():
    data = rf.datasets.two_points()
    minimum = minimal_squared_norm(data)

    def lane(key, log_lambda):
        net = rf.balanced(key, 20, data.dim, log_lambda)
        # A loss of 1e-12 is reached after a time that grows as ln(1 / lambda).
        sol = rf.flow(net, data, 60.0 - 3.0 * log_lambda, stop_loss=1e-12, throw=False)
        return sol.final.squared_norm() / minimum - 1.0, sol.stats["loss_final"]

    keys = jax.random.split(jax.random.key(0), 4)
    over_both = jax.vmap(jax.vmap(lane, in_axes=(None, 0)), in_axes=(0, None))
    excess, losses = jax.jit(over_both)(keys, jnp.array(LOG_LAMBDAS))
    print("ln lambda   |theta|^2 / minimum - 1, over the seeds     worst loss")
    for column, log_lambda in enumerate(LOG_LAMBDAS):
        values = np.asarray(excess[:, column])
        print(
            f"{log_lambda:9.0f}   median {np.median(values):9.2e}, worst {values.max():9.2e}"
            f"       {np.asarray(losses[:, column]).max():.1e}"
        )


if __name__ == "__main__":
    main()

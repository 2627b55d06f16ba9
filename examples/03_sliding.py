"""Sliding on the five points of the 2022 paper (Fig. 4), and gradient descent that zigzags there.

    python examples/03_sliding.py

These inputs are not orthogonal: neurons reach a boundary <w_j, x_k> = 0 that pushes them back
from both sides, and move along it (Filippov). Gradient descent jumps across and back at every
step; its distance from the sliding flow is of first order in the step.
"""

import jax
import numpy as np
import optax

import reluflow as rf

jax.config.update("jax_enable_x64", True)


def main():
    data = rf.datasets.five_points()
    net = rf.balanced(jax.random.key(0), 60, data.dim, np.log(1e-4 / np.sqrt(60 * data.dim)))
    t1 = 60.0
    sol = rf.flow(net, data, t1, rtol=1e-10)
    print(sol)
    slid = np.asarray(sol.events.after) == 2
    print(f"{len(set(np.asarray(sol.events.neuron)[slid].tolist()))} of 60 neurons slid")
    print("step      max |h_descent - h_flow| at t = 60")
    for step in (4e-3, 1e-3, 2.5e-4):
        beside = rf.descent(net, data, optax.sgd(step), round(t1 / step))
        print(f"{step:<8g}  {np.abs(beside.final(data.x) - sol.final(data.x)).max():.3e}")


if __name__ == "__main__":
    main()

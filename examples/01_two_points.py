"""Saddle to saddle on the two points of the 2022 paper (Fig. 2 and 3), in one picture.

    python examples/01_two_points.py [picture.png]

The flow stays near 0, fits the positive label at t = 12, waits at a second saddle, and fits the
negative one at t = 25, with a function that has two kinks: that of the smallest norm.
"""

import sys

import diffrax
import jax
import numpy as np
from matplotlib.figure import Figure

import reluflow as rf
from reluflow.analysis import plateaus
from reluflow.plot import loss_curve, states
from reluflow.theory import minimal_squared_norm

jax.config.update("jax_enable_x64", True)


def picture(sol, data, stages):
    """The loss above, the states at the four stages below."""
    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    top = figure.add_subplot(grid[0, :])
    below = [figure.add_subplot(grid[1, 0])]
    below += [figure.add_subplot(grid[1, i], sharey=below[0]) for i in (1, 2, 3)]
    top.set(yscale="log", ylim=(2e-3, 1.5), xlim=(-0.2, 40.0))
    top.set_xlabel("flow time $t$  (paper's normalisation)")
    top.set_ylabel(r"loss  $L = \frac{1}{2n} \sum_k r_k^2$")
    top.spines[["top", "right"]].set_visible(False)
    loss_curve(sol, top, plateaus=plateaus(sol))
    for time in sol.ts[stages]:
        top.axvline(time, color="black", linestyle="--", linewidth=0.8, alpha=0.6)
    networks = jax.tree.map(lambda leaf: leaf[stages], sol.networks)
    states(networks, data, below, times=sol.ts[stages])
    figure.legend(
        *below[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    return figure


def main(path):
    data = rf.datasets.two_points()
    net = rf.balanced(jax.random.key(0), 60, data.dim, np.log(1e-6 / np.sqrt(60 * data.dim)))
    ts = np.linspace(0.0, 40.0, 401)
    sol = rf.flow(net, data, 40.0, saveat=diffrax.SaveAt(ts=ts))
    print(sol)
    for saddle in plateaus(sol):
        print(f"loss {saddle.loss:.4f} until t = {saddle.end:.3f}, {saddle.half:.3f} half-way down")
    ratio = sol.final.squared_norm() / minimal_squared_norm(data)
    print(f"squared norm over its minimum: 1 - {1.0 - ratio:.1e}")
    figure = picture(sol, data, np.searchsorted(ts, [0.0, 8.0, 16.0, 30.0]))
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "two_points.png")

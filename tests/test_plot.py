"""Pictures: on given axes or new ones, without pyplot, for every kind of data."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from problems import curve
from tolerance import assert_close

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

import reluflow as rf
from reluflow.analysis import Plateau
from reluflow.plot import loss_curve, state, states
from reluflow.plot._style import number


def trajectory(data, log_lambda=-3.0, neurons=5):
    nets = [
        rf.balanced(key, neurons, data.dim, log_lambda)
        for key in jax.random.split(jax.random.key(0), 3)
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *nets)


def drawn(axes, tmp_path):
    axes.figure.savefig(tmp_path / "picture.png")
    return (tmp_path / "picture.png").stat().st_size > 5000


def test_importing_does_not_touch_pyplot():
    code = "import sys, reluflow.plot; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loss_curve(tmp_path):
    ts, losses = np.array([0.0, 1.0, 2.0, np.inf]), np.array([1.0, 0.5, 0.0, np.inf])
    sol = curve(ts, losses)
    ax = loss_curve(sol, label="flow", plateaus=[Plateau(1.0, 0.0, 1.5, 1.8)])
    assert "flow time" in ax.get_xlabel() and "loss" in ax.get_ylabel()
    assert ax.get_yscale() == "log" and len(ax.lines[0].get_xdata()) == 3
    assert "left at" in ax.texts[0].get_text()
    assert loss_curve(sol, ax, label="again") is ax and drawn(ax, tmp_path)


@pytest.mark.parametrize("ts", [np.zeros((2, 3)), np.full(3, np.inf)])
def test_loss_curve_refuses(ts):
    with pytest.raises(ValueError, match="`sol`"):
        loss_curve(curve(ts, ts))


def test_states_on_a_line(tmp_path):
    data = rf.datasets.five_points()
    networks = trajectory(data)
    axes = states(networks, data, times=[0.0, 1.0, 2.0])
    assert axes.shape == (3,) and drawn(axes[0], tmp_path)
    assert "$t$ = 2" in axes[2].get_title()
    stars = [line for line in axes[0].lines if line.get_marker() == "*"]
    a, w = networks.weights()
    kinks, norms = -w[0, :, 1] / w[0, :, 0], np.sign(a[0]) * np.linalg.norm(w[0], axis=1)
    for line in stars:
        for kink, norm in zip(*line.get_data(), strict=True):
            j = int(np.argmin(np.abs(kinks - kink)))
            assert_close([kinks[j], norms[j]], [kink, norm], rtol=1e-12)


@pytest.mark.parametrize("log_lambda", [-3.0, -1000.0])
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_states_in_the_plane(dim, log_lambda, tmp_path):
    x = np.eye(max(dim, 2))[:, :dim] + 0.1
    data = rf.Dataset(x, np.arange(1.0, len(x) + 1.0))
    axes = states(trajectory(data, log_lambda), data)
    assert axes[0].name == "polar" and drawn(axes[0], tmp_path)


def test_state_on_given_axes():
    data = rf.datasets.two_points()
    ax = Figure().add_subplot()
    net = rf.balanced(jax.random.key(0), 4, 2, -2.0)
    assert state(net, data, ax, time=3.0) is ax and "$t$ = 3" in ax.get_title()
    assert state(net, data) is not ax


def test_states_refuse():
    data = rf.datasets.two_points()
    networks = trajectory(data)
    with pytest.raises(ValueError, match="`networks`"):
        states(jax.tree.map(lambda leaf: leaf[0], networks), data)
    with pytest.raises(ValueError, match="`times`"):
        states(networks, data, times=[0.0])
    with pytest.raises(ValueError, match="`axes`"):
        states(networks, data, [Figure().add_subplot()])
    plane = rf.datasets.orthonormal(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="polar"):
        states(trajectory(plane), plane, [Figure().add_subplot() for _ in range(3)])


def test_numbers_as_text():
    assert number(0.25) == "0.25" and number(1.2e-7) == r"$1.2 \times 10^{-7}$"

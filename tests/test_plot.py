"""Pictures: on given axes or new ones, without pyplot, for every kind of data."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from problems import curve
from tolerance import assert_close

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import reluflow as rf
from reluflow.analysis import Plateau
from reluflow.plot import (
    bands,
    kinks,
    loss_curve,
    principal_components,
    saddles,
    state,
    states,
)
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


def stepped(levels, ends):
    """A run to t = 1000 whose loss falls from level to level, and its plateaus."""
    ts = np.linspace(0.0, 1000.0, 201)
    losses = np.asarray([*levels, levels[-1] * 1e-4])[np.searchsorted(ends, ts, side="right")]
    starts = [0.0, *ends[:-1]]
    found = [Plateau(*one, end) for *one, end in zip(levels, starts, ends, ends, strict=True)]
    return curve(ts, losses), found


def outside(figure, frame=None):
    """Texts that leave the figure, or the frame; ticks beyond the limits are not drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    texts = figure.findobj(Text) if frame is None else frame.texts
    whole = (figure.bbox if frame is None else frame.get_window_extent()).padded(1.0)
    return [
        text.get_text()
        for text in texts
        if text.get_text() and text.get_visible() and text not in hidden
        if not all(whole.contains(*corner) for corner in text.get_window_extent().corners())
    ]


@pytest.mark.parametrize(
    ("levels", "ends"),
    [
        ([0.5, 0.25], [700.0, 990.0]),  # left near the end
        ([0.5, 0.25], [10.0, 20.0]),
        ([0.5, 0.4, 0.3, 0.2, 0.1], [100.0, 300.0, 500.0, 800.0, 950.0]),
        ([0.5, 1e-3, 1e-9], [300.0, 600.0, 950.0]),  # so deep that the first is near the top
        ([1.0, 0.99, 0.98], [400.0, 500.0, 980.0]),  # so alike that labels would meet
    ],
)
def test_the_labels_of_plateaus_are_inside_and_apart(levels, ends):
    sol, found = stepped(levels, ends)
    ax = loss_curve(sol, label="gradient flow", plateaus=found)
    assert len(ax.texts) == len(levels)
    assert outside(ax.figure) == [] and outside(ax.figure, ax) == []
    boxes = [text.get_window_extent().padded(-2.0) for text in ax.texts]
    for index, box in enumerate(boxes):
        assert box.count_overlaps(boxes[index + 1 :]) == 0
    # Each stays beside its own dot.
    for text, plateau in zip(ax.texts, found, strict=True):
        assert text.xy == (plateau.end, plateau.loss) and np.abs(text.xyann).max() < 10.0


def test_a_label_does_not_lie_on_the_curve():
    """Where its first place is taken by another, the curve rules out a second."""
    sol, found = stepped([0.087, 0.06, 0.0318], [417.0, 459.0, 1000.0])
    ax = loss_curve(sol, plateaus=found)
    line = ax.transData.transform(np.stack([sol.ts, sol.losses], axis=1))
    assert outside(ax.figure, ax) == []
    for text in ax.texts:
        box = text.get_window_extent()
        assert not any(box.contains(*point) for point in line)


@pytest.mark.usefixtures("without_type_checks")  # the saddles have only what is drawn
def test_the_labels_of_saddles_are_inside():
    sol, _ = stepped([0.5, 0.25], [900.0, 980.0])
    kwargs = {"escape_rate": 0.0123456, "reached": False, "stationary": False}
    found = [
        SimpleNamespace(index=3, loss=0.5, time=10.0, leaving=900.0, **kwargs),
        SimpleNamespace(index=2, loss=0.25, time=950.0, leaving=980.0, **kwargs),
    ]
    ax = saddles(sol, found)
    assert "not stationary" in ax.texts[1].get_text()
    assert outside(ax.figure) == [] and outside(ax.figure, ax) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("data", [rf.datasets.two_points, rf.datasets.five_points, None])
def test_every_text_of_states_is_inside_the_figure(data, count):
    data = rf.datasets.orthonormal(jax.random.key(0), 6) if data is None else data()
    networks = jax.tree.map(lambda leaf: leaf[[0, 1, 2, 0][:count]], trajectory(data))
    axes = states(networks, data, times=np.arange(count) * 1234.5678)
    assert outside(axes[0].figure) == []
    if axes[0].name != "polar":  # where a panel is missing below, the one above has the numbers
        for ax in axes[-2:]:
            assert "kink" in ax.get_xlabel()
            assert any(tick.label1.get_visible() for tick in ax.xaxis.get_major_ticks())


def test_every_text_of_the_other_pictures_is_inside_the_figure():
    data = rf.datasets.five_points()
    net = jax.tree.map(lambda leaf: leaf[0], trajectory(data, neurons=60))
    tiny = rf.Network(net.log_scale - 12345.678, net.output, net.hidden)
    labels = ["a long label of what was measured", "another long label of what is known"]
    drawn = [
        kinks(net, data),
        principal_components(net),
        principal_components(tiny),
        bands([16, 32, 1024], {label: np.ones((3, 2)) for label in labels}, dashed=labels[1:]),
    ]
    for ax in drawn:
        assert outside(ax.figure) == []


def test_the_search_finds_a_text_outside():
    """The control of the tests above."""
    ax = Figure(figsize=(4.0, 3.0), layout="constrained").add_subplot()
    note = ax.annotate("outside", (1.0, 0.5), xycoords="axes fraction", annotation_clip=False)
    assert outside(ax.figure, ax) == ["outside"]
    note.set_in_layout(False)
    assert outside(ax.figure) == ["outside"]


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
    assert number(1234.56) == "1235" and number(15123.4) == "15123"
    assert number(4.9e6) == "4900000" and number(4.9e7) == r"$4.9 \times 10^{7}$"

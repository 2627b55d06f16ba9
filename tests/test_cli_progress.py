"""What a run says while it runs."""

import io
import itertools

import diffrax
import jax
import pytest

pytest.importorskip("typer")

from problems import small
from rich.console import Console
from tolerance import assert_close

import reluflow as rf
from reluflow.cli import _progress
from reluflow.cli._display_meter import DisplayMeter
from reluflow.cli._progress import Display, Reached


class Clock:
    """Stands in for `time`: each look at it takes `tick` seconds."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def monotonic(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def said(display):
    return display._console.file.getvalue().splitlines()


def shown(tty):
    return Display(Console(file=io.StringIO(), force_terminal=tty, width=80))


def test_lines_come_from_the_start_and_ever_more_rarely(clock):
    display = shown(tty=False)
    display.begin("compiling the flow")
    assert said(display) == ["compiling the flow ..."]
    for _ in range(600):
        clock.now += 1.0
        display.tick()
    times = [int(line.split("(")[1].split()[0]) for line in said(display)[1:]]
    assert times == [5, 15, 35, 75, *range(135, 600, 60)]
    display.begin("computing the flow", 400.0)
    display.reached(Reached(123.4, 0.25, 17, 50))
    clock.now += 6.0
    display.tick()
    assert (
        said(display)[-1]
        == "computing the flow t = 123.4 of 400, loss 0.25, 17 steps, 50 saves (6 s)"
    )
    display.begin("computing the flow", float("inf"))  # until rest
    display.reached(Reached(123.4, 0.25, 17, 50))
    clock.now += 6.0
    display.tick()
    assert said(display)[-1] == "computing the flow t = 123.4, loss 0.25, 17 steps, 50 saves (6 s)"


def test_a_terminal_shows_one_line_that_fits():
    display = shown(tty=True)
    with display:
        display.begin("computing the flow, end only", 1.234567e7)
        display.reached(Reached(1.2345678e6, 1.2345678e-12, 123456, 500))
        display._bar.refresh()
    text = display._console.file.getvalue()
    assert "t = 1.235e+06 of 1.235e+07" in text and "1.23e-12" in text


def test_slow_steps_are_shown_one_by_one_and_fast_ones_are_not(clock):
    display = shown(tty=False)
    display.begin("computing the flow", 1.0)
    counts, skip = [], 1
    for _ in range(40):
        clock.now += 1e-4 * skip
        skip = display.skip_after(skip)
        counts.append(skip)
    assert counts[0] == 1 and counts[-1] == _progress._MOST_SKIPPED
    assert all(later <= 2 * before for before, later in itertools.pairwise(counts))
    clock.now += 1.0 * skip  # the steps have become slow
    assert display.skip_after(skip) == 1


@pytest.mark.parametrize("integrator", [rf.Boost(), rf.RungeKutta()])
def test_a_flow_shows_time_loss_and_steps(integrator, monkeypatch):
    monkeypatch.setattr(_progress, "_CALLS", 0.0)  # every step
    net, data = small()
    display = shown(tty=False)
    display.begin("computing the flow", 20.0)
    seen = []
    reached = display.reached
    monkeypatch.setattr(display, "reached", lambda one: seen.append(one) or reached(one))
    sol = rf.flow(
        net,
        data,
        20.0,
        integrator=integrator,
        saveat=diffrax.SaveAt(steps=True),
        progress_meter=DisplayMeter(display),
    )
    jax.block_until_ready(sol)
    count = int(sol.stats["num_accepted_steps"])
    assert [one.steps for one in seen] == list(range(1, count + 1))
    assert [one.saved for one in seen] == [one.steps for one in seen]
    assert_close([one.time for one in seen], sol.ts[:count], rtol=1e-15)
    assert_close([one.loss for one in seen], sol.losses[:count], rtol=1e-12)
    assert seen[-1].time == 20.0

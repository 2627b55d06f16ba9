"""The samples that are left, and who could fit them, against the limit process and by hand."""

import jax
import numpy as np
import pytest
from limits import NEURONS, SAMPLES
from tolerance import assert_close

import reluflow as rf
from reluflow import analysis
from reluflow.theory import limit_process


def network(a, w):
    return rf.Network.from_weights(np.array(a), np.array(w))


def test_by_hand():
    """Four samples, three neurons: one fits, one is small, one has the wrong sign."""
    data = rf.Dataset(np.eye(4), [1.0, 2.0, 3.0, -1.0])
    w = [[1.0, -1.0, -1.0, -1.0], [-1e-9, 1e-9, -1e-9, 0.0], [-1.0, -1.0, 0.5, -1.0]]
    found = analysis.unfitted(network([1.0, 1e-9, -1.0], w), data)
    assert [one.sample for one in found] == [2, 1, 3]
    third, second, fourth = found
    assert third.residual == 3.5 and third.helpers == 0 and third.helper == -1
    assert third.log_size == -np.inf and third.waiting == 2
    assert_close(third.opponent_log_size, np.log(np.sqrt(3.25)), rtol=1e-15)
    assert second.residual == 2.0 and second.helper == 1 and second.helpers == 1
    assert_close(second.log_size, np.log(np.sqrt(3.0) * 1e-18), rtol=1e-15)
    assert fourth.residual == -1.0 and (fourth.helpers, fourth.waiting) == (0, 1)
    assert_close([one.share for one in found], np.array([12.25, 4, 1]) / 17.25, rtol=1e-15)
    [one] = analysis.unfitted(network([1.0, 1e-9, -1.0], w), data, 0.7)
    assert one.sample == 2
    # Control: fitted data have none.
    assert analysis.unfitted(network([1.0], [[1.0, 2.0]]), rf.Dataset(np.eye(2), [1.0, 2.0])) == []


def test_what_a_flow_leaves():
    """At the end: those that nobody can fit. On a plateau before: those of neurons still small."""
    data = rf.datasets.orthonormal(jax.random.key(24), SAMPLES)
    net = rf.balanced(jax.random.key(1024), NEURONS, SAMPLES, -100.0)
    process = limit_process(net, data)
    never = np.flatnonzero(process.unfittable).tolist()
    assert len(never) == 2
    times = np.asarray(process.times(-100.0))
    ends = [0.5 * (times[0] + times[1]), 2.0 * times[int(process.num_jumps) - 1] + 500.0]
    middle, end = (rf.flow(net, data, t, integrator=rf.Boost()).final for t in ends)
    part = 1.0 - 1e-9
    found = analysis.unfitted(end, data, part)
    assert sorted(one.sample for one in found) == never
    assert all(one.helper == -1 and one.helpers == 0 for one in found)
    before = {one.sample: one for one in analysis.unfitted(middle, data, part)}
    assert set(before) >= set(never) and not set(before) & set(np.flatnonzero(process.fits[0]))
    for sample in np.flatnonzero(process.fits[1]).tolist():
        assert before[sample].helpers >= 1 and before[sample].log_size < -10.0
    assert all(before[sample].helper == -1 for sample in never)


@pytest.mark.parametrize("part", [0.0, 1.5])
def test_bad_arguments(part):
    data = rf.Dataset(np.eye(2), [1.0, 2.0])
    with pytest.raises(ValueError, match="`part` must lie"):
        analysis.unfitted(network([1.0], [[1.0, 1.0]]), data, part)

"""The batched flow lowers for accelerators on a machine that has none."""

import jax
import numpy as np
import pytest
from jax import export
from problems import BOTH_IN_TIME

import reluflow as rf


@BOTH_IN_TIME
def test_a_batch_lowers_for_accelerators(integrator):
    data = rf.datasets.two_points()

    def ends(log_lambda):
        net = rf.balanced(jax.random.key(0), 6, 2, log_lambda)
        sol = rf.flow(net, data, 30.0, integrator=integrator, throw=False)
        return sol.stats["loss_final"], sol.result._value

    batch = jax.ShapeDtypeStruct((3,), np.float64)
    exported = export.export(jax.jit(jax.vmap(ends)), platforms=("cuda", "tpu"))(batch)
    assert exported.platforms == ("cuda", "tpu")
    assert [aval.shape for aval in exported.out_avals] == [(3,), (3,)]


def test_control_a_call_of_the_host_does_not_lower_for_tpu():
    """What no accelerator has is refused, so that lowering shows something."""

    def solved(matrix):
        return jax.lax.linalg.schur(matrix)[0]

    batch = jax.ShapeDtypeStruct((3, 3), np.float64)
    with pytest.raises(NotImplementedError):
        export.export(jax.jit(solved), platforms=("tpu",))(batch)

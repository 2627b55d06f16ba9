"""What sweeps do on eight devices, as JSON; started by `test_sweep_devices.py`."""

import json
import re

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from sweep_measures import AXES, looped

import reluflow as rf
from reluflow.sweep._axes import read_axes
from reluflow.sweep._plan import grid
from reluflow.sweep._point import base_key
from reluflow.sweep._program import Program
from reluflow.sweep._running import Experiment

COLLECTIVE = re.compile(r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter")


def drawn(point):
    return {"draw": jax.random.normal(point.key("seed", "height"), (3,))}


def swept(measure, **options):
    return rf.sweep(measure, AXES, progress=False, chunk=16, **options)


def largest_difference(one, other):
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def programs():
    """(text, lanes on each device) of ours, and the text where JAX shards automatically."""
    axes = read_axes(AXES, ())
    experiment = Experiment(looped, axes, *base_key(0), "")
    positions = grid(axes)[:64]
    inputs = experiment.inputs(positions)
    traced = experiment.traced(positions[0])
    program = Program(traced, 8, jax.local_devices())
    program.lower(inputs)
    program.compile()
    arrays = program._compiled(inputs.values, inputs.words, inputs.base)
    shards = [shard.data.shape[0] for shard in arrays[0].addressable_shards]
    one = jax.extend.core.jaxpr_as_fun(traced.jaxpr)
    over = NamedSharding(
        jax.sharding.Mesh(np.array(jax.local_devices()), ("lanes",)), PartitionSpec("lanes")
    )
    automatic = jax.jit(
        jax.vmap(lambda values, words: one(*values, words, inputs.base)), in_shardings=over
    )
    return program.text(), shards, automatic.lower(inputs.values, inputs.words).compile().as_text()


def main():
    by_devices = {n: swept(looped, devices=n, batch=4 * n) for n in (1, 2, 8)}
    by_lanes = {n: swept(looped, devices=1, batch=n) for n in (1, 7, 16)}
    draws = {n: swept(drawn, devices=n, batch=16).draw for n in (1, 2, 8)}
    text, shards, automatic = programs()
    print(
        json.dumps(
            {
                "same lanes": [bool(by_devices[1].equals(by_devices[n].copy())) for n in (2, 8)],
                "other lanes": [largest_difference(by_devices[8], ds) for ds in by_lanes.values()],
                "draws": [bool((draws[1] == draws[n]).all()) for n in (2, 8)],
                "shards": shards,
                "collectives": sorted(set(COLLECTIVE.findall(text))),
                "loops": text.count("while("),
                "collectives of automatic sharding": sorted(set(COLLECTIVE.findall(automatic))),
            }
        )
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()

"""The command line keeps what it has compiled, where users can do without it."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("typer")

PROGRAM = """
import sys
import jax
from reluflow.cli._compilation_cache import keep_compiled

hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
keep_compiled(sys.argv[1] == "kept")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x @ x + 1.0)(jax.numpy.ones((3, 3)))
print(jax.config.jax_compilation_cache_dir, sum(name.endswith("cache_hits") for name in hits))
"""


def run(cache, kept=True, **environment):
    """(the directory of the cache, how many programs were read from it)."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    env |= {"XDG_CACHE_HOME": str(cache), **environment}
    words = [sys.executable, "-W", "error", "-c", PROGRAM, "kept" if kept else "new"]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, hits = done.stdout.split()
    return where, int(hits)


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's")
def test_a_second_process_reads_what_the_first_compiled(tmp_path):
    where, hits = run(tmp_path)
    assert where.startswith(str(tmp_path / "reluflow")) and hits == 0 and os.listdir(where)
    again, hits = run(tmp_path)
    assert again == where and hits > 0
    _, hits = run(tmp_path, kept=False)
    assert hits == 0


def test_a_cache_of_the_users_own_is_left_alone(tmp_path):
    own = tmp_path / "own"
    where, _ = run(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(own))
    assert where == str(own) and not (tmp_path / "cache").exists()


def test_without_a_place_for_it_there_is_none(tmp_path):
    """Where the directory should be there is a file."""
    (tmp_path / "reluflow").write_text("")
    where, hits = run(tmp_path)
    assert where == "None" and hits == 0

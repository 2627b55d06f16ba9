"""Ctrl-C ends the program at once, also inside XLA, and says what is kept."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")
SECONDS, TRIES = 2.0, 3


def interrupted(command, line, tmp_path, wait=1.0):
    """(exit code, all that was said), after SIGINT behind that line; it ends within two seconds.

    Where all cores are busy with something else, one of three tries must.
    """
    for _ in range(TRIES):
        code, seconds, said = once(command, line, tmp_path, wait)
        if seconds < SECONDS:
            return code, said
    pytest.fail(f"It took {seconds:.1f} s to end, and longer than {SECONDS} s before.")


def once(command, line, tmp_path, wait):
    said = []
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
    ) as process:
        try:
            assert process.stdout is not None
            for one in process.stdout:
                said.append(one)
                if line in one:
                    break
            else:
                pytest.fail(f"It ended before {line!r}: {''.join(said)}")
            time.sleep(wait)  # until it is inside XLA
            assert process.poll() is None, "".join(said)
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(20.0)
            except subprocess.TimeoutExpired:
                pytest.fail("Ctrl-C was ignored for 20 s.")
            seconds = time.monotonic() - begin
            said.append(process.stdout.read())
        finally:
            process.kill()
    return code, seconds, "".join(said)


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("loading JAX", []),
        # Of rf.Boost, since it takes 10 s and more.
        ("compiling the flow", ["--integrator", "boost"]),
        # Of a Runge-Kutta solver, to which so long a plateau is millions of steps.
        ("computing the flow", ["--scale", "1e-100000", "--integrator", "dopri8"]),
    ],
)
def test_a_run(line, arguments, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("of an earlier run")
    command = ["-m", "reluflow", "run", "two-points", "--neurons", "3", "--out", "out", *arguments]
    code, said = interrupted(command, line, tmp_path)
    assert code == 130, said
    assert "Interrupted" in said and "Nothing was written" in said and "start it again" in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]
    assert (tmp_path / "out" / "summary.json").read_text() == "of an earlier run"


CLAIMS = textwrap.dedent(
    """
    import sys
    import jax
    from reluflow.__main__ import app
    from reluflow.claims import Claim, Finding
    from reluflow.cli import _claims, _claims_store

    def quick(_):
        return [Finding("a", 1.0, "<=", 2.0)]

    def endless(_):
        if "again" in sys.argv:
            sys.argv.remove("again")
            return quick(_)
        jax.jit(lambda: jax.lax.while_loop(lambda i: i >= 0, lambda i: 1 - i, 0))()

    controls = {"broken": lambda _: [Finding("a", 3.0, "<=", 2.0)]}
    claims = (
        Claim("short", "a paper", "something", quick, controls),
        Claim("long", "a paper", "something", endless, controls),
    )
    _claims.CATALOGUE = _claims_store.CATALOGUE = claims
    app(["claims", "--out", "out"])
    """
)


def test_claims(tmp_path):
    (tmp_path / "claims.py").write_text(CLAIMS)
    code, said = interrupted(["claims.py"], "short: holds", tmp_path, wait=2.0)
    assert code == 130, said
    assert "1 of 2 claims are kept in out/claims.json" in said and "goes on" in said
    assert "Traceback" not in said
    out = Path(tmp_path, "out")
    assert sorted(path.name for path in out.iterdir()) == ["claims.json", "claims.md"]
    (kept,) = json.loads((out / "claims.json").read_text())["claims"]
    assert kept["id"] == "short"
    done = subprocess.run(
        [sys.executable, "claims.py", "again"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 2 are known from before" in done.stderr and "short: holds" not in done.stderr
    both = json.loads((out / "claims.json").read_text())["claims"]
    assert [one["id"] for one in both] == ["short", "long"]

"""A sweep in a process of its own, which may be told to end itself with SIGKILL.

    python sweep_program.py MEASURE STORE OPTIONS

OPTIONS is JSON: those of `rf.sweep`, `seeds` (a number), and `kill_at`: after so many files were
replaced, `kill_before`: a file of such a name is about to be, or `kill_after`: so many seconds.
"""

import json
import os
import signal
import sys
import threading

import jax
import sweep_measures

import reluflow as rf


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def main(measure, store, options):
    seeds, kill_at = options.pop("seeds", 40), options.pop("kill_at", None)
    named, seconds = options.pop("kill_before", None), options.pop("kill_after", None)
    replace, count = os.replace, 0

    def counted(source, target):
        nonlocal count
        if named is not None and named in str(target):
            end()
        replace(source, target)
        count += 1
        if count == kill_at:
            end()

    os.replace = counted
    if seconds is not None:
        threading.Timer(seconds, end).start()
    if "part" in options:
        options["part"] = tuple(options["part"])
    axes = sweep_measures.AXES | {"seed": range(seeds)}
    rf.sweep(getattr(sweep_measures, measure), axes, store=store, progress=False, **options)
    print(count)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))

"""What `rf.Boost` is for, as counts and ratios: each beside its target, met or missed.

    python benchmarks/boost.py [--quick] [--only GROUP ...]

Every group compares runs that were made side by side, in this one process. See README.md.
"""

import argparse

import jax
import numpy as np
from _boost_counts import against_limit, any_lambda, many_events, sliding
from _boost_large import gaussian_teacher, orthonormal
from _boost_order import order
from _boost_times import compilation, two_points, under_vmap
from _common import environment
from _targets import Group, Row, write

jax.config.update("jax_enable_x64", True)

GROUPS = {
    "order": order,
    "lambda": any_lambda,
    "limit-process": against_limit,
    "events": many_events,
    "five-points": sliding,
    "gaussian-teacher": gaussian_teacher,
    "peers-orthonormal": orthonormal,
    "peers-two-points": two_points,
    "vmap": under_vmap,
    "compilation": compilation,
}
_SLOW = ("gaussian-teacher", "peers-orthonormal")  # minutes each: left out by --quick


def measure(name: str, quick: bool) -> Group:
    """A group; where a flow does not get to its end, that is its one row."""
    found = environment()
    print(f"{name} ...", flush=True)
    try:
        rows = GROUPS[name](quick)
    except RuntimeError as error:
        rows = [Row("did not finish", np.nan, 0.0, note=str(error))]
    return Group(found, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without what takes minutes")
    parser.add_argument(
        "--only",
        action="append",
        choices=GROUPS,
        metavar="GROUP",
        help=f"one of {', '.join(GROUPS)}; may be repeated. The others keep their last results",
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    names = arguments.only or [name for name in GROUPS if not (quick and name in _SLOW)]
    name = "boost_quick" if quick else "boost"
    for group in names:
        write(name, {group: measure(group, quick)}, list(GROUPS))


if __name__ == "__main__":
    main()

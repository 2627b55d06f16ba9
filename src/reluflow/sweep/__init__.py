"""`rf.sweep`: a function at thousands of points, on all devices, with a store to go on from.

What is imported here needs neither xarray nor zarr: they are imported when a sweep is made.
"""

from ._point import Point as Point
from ._progress import StoppedAfterFailures as StoppedAfterFailures
from ._sweep import load as load
from ._sweep import sweep as sweep

"""Sweeps from a file: START HERE, `_file.py` reads one, `_measure.py` is what it measures.

Nothing here needs the packages of the command line: workers of an executor import it too.
"""

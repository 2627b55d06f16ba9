"""The parts of the command line; `reluflow.__main__` puts them together."""

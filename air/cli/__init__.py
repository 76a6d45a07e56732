"""The command line: all of the package that knows Hydra."""

"""Experiments: grids of runs, each described by one TOML file."""

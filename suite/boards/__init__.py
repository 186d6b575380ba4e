"""What is compared on a data set: one TOML file each. A board is an input of runs."""

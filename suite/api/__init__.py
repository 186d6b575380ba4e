"""The suite from Python: for any network, without a command line."""

"""The commands, by what they are about; `suite/cli.py` puts them together."""

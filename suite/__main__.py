"""`python -m suite` is the command `suite`."""

from suite.cli.main import main

main()

"""The command line: the only room that imports both leaderboards and app."""

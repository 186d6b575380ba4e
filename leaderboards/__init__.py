"""Boards: what is compared on a data set, and tables of the rows that runs and published logs put on it."""

from leaderboards.cache import read_results
from leaderboards.table import envelopes, groups, rows, table
from suite.boards import Board, load_board

__all__ = ["Board", "envelopes", "groups", "load_board", "read_results", "rows", "table"]

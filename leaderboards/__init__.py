"""Boards: what is compared on a data set, and tables of the rows that runs and published logs put on it."""

from leaderboards.board import board_results, envelopes, rows, table
from leaderboards.cache import read_results
from leaderboards.comparable import groups
from suite.boards.board import Board, load_board

__all__ = ["Board", "board_results", "envelopes", "groups", "load_board", "read_results", "rows", "table"]

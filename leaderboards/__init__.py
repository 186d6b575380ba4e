"""Boards: what is compared on a data set, and tables of the rows that runs and published logs put on it."""

from leaderboards.board import Board, load_board
from leaderboards.table import groups, rows, table

__all__ = ["Board", "groups", "load_board", "rows", "table"]

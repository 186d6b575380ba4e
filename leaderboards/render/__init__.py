"""What a reader sees of a board: cells, terminal, exports, page and plots."""

"""Everything on disk, written and read in one room."""

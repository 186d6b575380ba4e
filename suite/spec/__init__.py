"""What a run is: its settings, where they come from, and the shell line that gives them again."""

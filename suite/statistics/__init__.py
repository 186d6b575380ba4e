"""Functions of numbers: bounds, sequential tests, intervals. Nothing here knows torch."""
